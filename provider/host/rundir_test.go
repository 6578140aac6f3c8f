package host

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestRunRootKeepsSocketPathsShort(t *testing.T) {
	short := fmt.Sprintf("/tmp/stead-%d", os.Getuid())
	const long = "/Users/a-name-of-thirty-nine-letters-and-more/Library/Application Support/stead"
	tests := map[string]struct {
		home    string
		inState bool
		want    string
	}{
		"macOS":                      {"/Users/ada/Library/Application Support/stead", true, "/Users/ada/Library/Application Support/stead/run"},
		"path too long":              {long, true, short},
		"not in the state directory": {"/home/ada/.local/share/stead", false, short},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := runRoot(tt.home, tt.inState); got != tt.want {
				t.Errorf("runRoot = %s, want %s", got, tt.want)
			}
		})
	}
	for n := range 200 {
		root := runRoot("/"+strings.Repeat("x", n), true)
		if path := root + "/0123456789ab/api.sock"; len(path) > maxSocketPath {
			t.Errorf("%d bytes: %s", len(path), path)
		}
	}
}
