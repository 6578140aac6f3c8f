// Package platform parses, prints and compares platforms, such as linux/amd64.
package platform

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"strings"
)

// Platform is an operating system and a processor, spelled as Go and OCI images do. The
// zero Platform is unknown. Compare platforms in their [Platform.Normal] form.
type Platform struct {
	OS, Architecture string
	Variant          string // of the processor, "v7"; mostly empty
}

// Host returns Linux on this host's processor.
func Host() Platform { return Platform{OS: "linux", Architecture: runtime.GOARCH} }

// aliases are other names of processors: those of uname, of Debian and of builders that write
// them into images. The values are an architecture and its variant.
var aliases = map[string][2]string{
	"x86_64": {"amd64"}, "x86-64": {"amd64"},
	"aarch64": {"arm64"},
	"armhf":   {"arm", "v7"}, "armv7l": {"arm", "v7"}, "armel": {"arm", "v6"}, "armv6l": {"arm", "v6"},
	"i386": {"386"}, "i686": {"386"},
	"ppc64el": {"ppc64le"},
}

// architectures are the names of processors that need no operating system beside them.
var architectures = []string{"amd64", "arm64", "arm", "386", "ppc64le", "riscv64", "s390x"}

// Parse reads "linux/amd64" or "linux/arm/v7". The operating system of a processor alone is
// Linux. Other spellings, such as x86_64, are understood; the result is in normal form.
func Parse(s string) (Platform, error) {
	parts := strings.Split(s, "/")
	if p := (Platform{OS: "linux", Architecture: s}).Normal(); len(parts) == 1 && slices.Contains(architectures, p.Architecture) {
		return p, nil
	}
	if len(parts) < 2 || len(parts) > 3 || strings.Contains("/"+s+"/", "//") {
		return Platform{}, fmt.Errorf("%q is not a platform: write OS/ARCHITECTURE, such as linux/amd64", s)
	}
	p := Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return p.Normal(), nil
}

// String returns p as [Parse] reads it, and "" for the zero Platform.
func (p Platform) String() string {
	switch {
	case p == Platform{}:
		return ""
	case p.Variant == "":
		return p.OS + "/" + p.Architecture
	}
	return p.OS + "/" + p.Architecture + "/" + p.Variant
}

// MarshalText writes p as String does.
func (p Platform) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (p *Platform) UnmarshalText(text []byte) (err error) {
	*p = Platform{}
	if len(text) > 0 {
		*p, err = Parse(string(text))
	}
	return err
}

// Normal returns p as Go spells it, however an image or a person has: linux/amd64 for
// Linux/x86_64. It leaves out a variant that says nothing: all 64-bit ARM processors are v8.
func (p Platform) Normal() Platform {
	p = Platform{OS: strings.ToLower(p.OS), Architecture: strings.ToLower(p.Architecture), Variant: strings.ToLower(p.Variant)}
	if known, ok := aliases[p.Architecture]; ok {
		p.Architecture, p.Variant = known[0], cmp.Or(p.Variant, known[1])
	}
	if p.Architecture == "arm64" && p.Variant == "v8" {
		p.Variant = ""
	}
	return p
}

// Complete reports whether p names both an operating system and a processor.
func (p Platform) Complete() bool { return p.OS != "" && p.Architecture != "" }

// Or returns p with what it does not say taken from other.
func (p Platform) Or(other Platform) Platform {
	if p.Architecture == "" {
		p.Architecture, p.Variant = other.Architecture, other.Variant
	}
	p.OS = cmp.Or(p.OS, other.OS)
	return p
}

// Satisfies reports whether an image for p runs where want is asked for. No variant in
// want means any.
func (p Platform) Satisfies(want Platform) bool {
	p, want = p.Normal(), want.Normal()
	return p.OS == want.OS && p.Architecture == want.Architecture && (want.Variant == "" || p.Variant == want.Variant)
}
