// Package platform parses, prints and compares platforms, such as linux/amd64.
package platform

import (
	"fmt"
	"runtime"
	"strings"
)

// Platform is an operating system and a processor, spelled as Go and OCI images do. The
// zero Platform is unknown.
type Platform struct {
	OS, Architecture string
	Variant          string // of the processor, "v7"; mostly empty
}

// Host returns Linux on this host's processor.
func Host() Platform { return Platform{OS: "linux", Architecture: runtime.GOARCH} }

// Parse reads "linux/amd64" or "linux/arm/v7".
func Parse(s string) (Platform, error) {
	parts := strings.Split(s, "/")
	if len(parts) < 2 || len(parts) > 3 || strings.Contains("/"+s+"/", "//") {
		return Platform{}, fmt.Errorf("%q is not a platform: write OS/ARCHITECTURE, such as linux/amd64", s)
	}
	p := Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return p, nil
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

// Normal returns p without a variant that says nothing: all 64-bit ARM processors are
// v8, which not every image writes down.
func (p Platform) Normal() Platform {
	if p.Architecture == "arm64" && p.Variant == "v8" {
		p.Variant = ""
	}
	return p
}

// Satisfies reports whether an image for p runs where want is asked for. No variant in
// want means any.
func (p Platform) Satisfies(want Platform) bool {
	p, want = p.Normal(), want.Normal()
	return p.OS == want.OS && p.Architecture == want.Architecture && (want.Variant == "" || p.Variant == want.Variant)
}
