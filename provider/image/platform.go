package image

import (
	"fmt"
	"runtime"
	"strings"
)

// Platform is the platform of an image, with Go's names for systems and architectures.
type Platform struct {
	OS, Architecture string
	Variant          string // of the architecture, "v7"; usually empty
}

// HostPlatform returns Linux on this host's architecture.
func HostPlatform() Platform { return Platform{OS: "linux", Architecture: runtime.GOARCH} }

// ParsePlatform parses a platform such as "linux/amd64" or "linux/arm/v7".
func ParsePlatform(s string) (Platform, error) {
	parts := strings.Split(s, "/")
	if len(parts) < 2 || len(parts) > 3 || strings.Contains("/"+s+"/", "//") {
		return Platform{}, fmt.Errorf("invalid platform %q: expected OS/ARCHITECTURE such as linux/amd64", s)
	}
	p := Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return p, nil
}

func (p Platform) String() string {
	if p.Variant == "" {
		return p.OS + "/" + p.Architecture
	}
	return p.OS + "/" + p.Architecture + "/" + p.Variant
}

// runs reports whether an image for p satisfies want. A want without a variant accepts
// any. All 64-bit ARM processors are v8, which images may omit.
func (p Platform) runs(want Platform) bool {
	if p.OS != want.OS || p.Architecture != want.Architecture {
		return false
	}
	if p.Architecture == "arm64" {
		p.Variant, want.Variant = strings.TrimPrefix(p.Variant, "v8"), strings.TrimPrefix(want.Variant, "v8")
	}
	return want.Variant == "" || p.Variant == want.Variant
}
