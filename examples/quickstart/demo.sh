#!/usr/bin/env bash
# The quickstart, from an image that is made here to a session inside the machine.
# demo.sh IMAGES: the folder for the image; built on the first run, kept for later ones.
set -euo pipefail
project=$(cd "$(dirname "$0")/../.." && pwd)
images=${1:?usage: demo.sh IMAGES}
mkdir -p "$images"
images=$(cd "$images" && pwd)
stead=$project/bin/stead
export STEAD_HOME=${STEAD_HOME:-$project/.demo}

# Your working directory is the machine's where your home is mounted.
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
	echo "You may not use /dev/kvm: the demo emulates, which is slow. For real speed: sudo usermod -aG kvm $(id -un)"
	export STEAD_ACCEL=tcg
fi

say "An image with systemd and PostgreSQL, from the distribution's packages (the first time: a minute or two)"
"$project/examples/images/debian-systemd.sh" "$images/debian-systemd"

trap '"$stead" stop dev >/dev/null 2>&1 || true' EXIT
say "The machine of examples/quickstart/machines.hcl"
show "$stead" apply -f "$project/examples/quickstart/machines.hcl" --auto-approve

say "You, inside"
inside whoami
inside id
inside pwd
inside 'for i in $(seq 240); do state=$(systemctl is-system-running 2>/dev/null) && break; sleep 0.5; done; echo $state'
inside 'for i in $(seq 300); do pg_isready -q && break; sleep 0.2; done; sudo -u postgres psql -Atc "select version()"'

say "Stopping it; its disk stays: run this again, and it is there at once"
show "$stead" stop dev
