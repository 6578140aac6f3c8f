package kernel

import (
	"cmp"
	"errors"
	"path/filepath"
	"strings"
)

// Host returns the newest kernel of this host that can boot a machine: it has the
// architecture (as Go spells it), is readable and has its modules. It compares versions, as
// file times only say when a package was installed. Without such a kernel the error is a
// [NoKernelError].
func Host(arch string) (Kernel, error) { return hostIn("/", arch) }

func hostIn(root, arch string) (Kernel, error) {
	k, rejected := newest(candidates(root), func(path string) (Kernel, error) {
		k, err := openIn(root, path)
		if err == nil {
			err = k.checkFit(arch)
		}
		return k, err
	})
	if k.Path == "" {
		return Kernel{}, &NoKernelError{Arch: arch, Rejected: rejected}
	}
	return k, nil
}

// newest opens kernels and returns the one with the newest release, and the errors of
// kernels that it skipped. If there is none, the path of best is empty.
func newest(paths []string, open func(path string) (Kernel, error)) (best Kernel, rejected []error) {
	for _, path := range paths {
		k, err := open(path)
		switch {
		case err != nil:
			rejected = append(rejected, err)
		case best.Path == "" || cmp.Or(compareReleases(k.Release, best.Release), cmp.Compare(best.Path, k.Path)) > 0:
			best = k
		}
	}
	return best, rejected
}

// candidates lists the kernels that distributions install: most keep them in /boot, Fedora
// and Arch also beside the modules, where they are readable.
func candidates(root string) []string {
	var all []string
	for _, pattern := range []string{"boot/vmlinuz-*", "lib/modules/*/vmlinuz", "usr/lib/modules/*/vmlinuz"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			continue // only a malformed pattern fails
		}
		all = append(all, found...)
	}
	return all
}

// checkFit returns an error unless k, a kernel of the host, can boot a machine.
func (k Kernel) checkFit(arch string) error {
	if k.Arch != arch {
		return errors.New("kernel " + k.Path + " is for " + k.Arch + ", not for " + arch)
	}
	if k.ModuleTree == "" {
		return &NoModulesError{Path: k.Path, Release: k.Release}
	}
	_, err := k.Modules(Needs{Shares: true, Network: true})
	return err
}

// compareReleases compares kernel releases by their numbers: 6.1.0-9 is before 6.1.0-10,
// 6.5-rc2 before 6.5.
func compareReleases(a, b string) int {
	x, y := releaseParts(a), releaseParts(b)
	for i := range max(len(x), len(y)) {
		if c := comparePart(partAt(x, i), partAt(y, i)); c != 0 {
			return c
		}
	}
	return 0
}

// releaseParts splits a release into its numbers and words.
func releaseParts(s string) []string {
	var parts []string
	for s != "" {
		digits := isDigit(s[0])
		end := strings.IndexFunc(s, func(r rune) bool { return r > 127 || isDigit(byte(r)) != digits })
		if end < 0 {
			end = len(s)
		}
		if word := s[:end]; digits {
			parts = append(parts, word)
		} else if word = strings.Trim(word, ".-_+"); word != "" {
			parts = append(parts, word)
		}
		s = s[end:]
	}
	return parts
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }

func partAt(parts []string, i int) string {
	if i < len(parts) {
		return parts[i]
	}
	return ""
}

func comparePart(a, b string) int {
	if c := cmp.Compare(partRank(a), partRank(b)); c != 0 {
		return c
	}
	if a != "" && isDigit(a[0]) {
		a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	}
	return cmp.Compare(a, b)
}

// partRank orders a release candidate before the end of the release, and that before
// further words and numbers.
func partRank(part string) int {
	switch {
	case part == "rc", strings.HasPrefix(part, "~"):
		return 0
	case part == "":
		return 1
	case !isDigit(part[0]):
		return 2
	}
	return 3
}
