#!/usr/bin/env bash
# Runs the quickstart: builds an image, creates the machine and runs commands in it.
# Usage: demo.sh IMAGES. IMAGES is the directory for the image, which later runs reuse.
set -euo pipefail
project=$(cd "$(dirname "$0")/../.." && pwd)
images=${1:?usage: demo.sh IMAGES}
mkdir -p "$images"
images=$(cd "$images" && pwd)
stead=$project/bin/stead
export STEAD_HOME=${STEAD_HOME:-$project/.demo}

# Commands run in the same working directory inside the machine if it is below your home.
case $PWD/ in
"$HOME"/*) ;;
*) cd "$HOME" ;;
esac

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
show() {
	printf '\n$ %s\n' "$*"
	"$@"
}
inside() {
	printf '\n$ stead run %s\n' "$*"
	"$stead" run -n dev "$@"
}

if [ -z "${STEAD_ACCEL:-}" ] && [ -e /dev/kvm ] && ! [ -w /dev/kvm ]; then
	echo "No access to /dev/kvm: the machine is emulated, which is slow. To use KVM, run: sudo usermod -aG kvm $(id -un)"
	export STEAD_ACCEL=tcg
fi

say "Build an image with systemd and PostgreSQL from the distribution's packages (the first build takes a minute or two)"
"$project/examples/images/debian-systemd.sh" "$images/debian-systemd"

trap '"$stead" stop dev >/dev/null 2>&1 || true' EXIT
say "Create the machine of examples/quickstart/machines.hcl"
show "$stead" apply -f "$project/examples/quickstart/machines.hcl" --auto-approve

say "Run commands in the machine"
while IFS= read -r line <&3; do
	inside "$line"
done 3<"$project/examples/quickstart/tour"

say "Stop the machine (its disk is kept, so the next run starts quickly)"
show "$stead" stop dev
