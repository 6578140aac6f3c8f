package image

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/stead-vm/stead/provider/platform"
)

// loggedStore returns a store and what it logs.
func loggedStore(t *testing.T) (*Store, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	s := newStore(t, t.TempDir())
	s.log = slog.New(slog.NewTextHandler(&log, nil))
	return s, &log
}

// TestAnImageThatDoesNotSayItsPlatformIsTheHosts uses the same image directly and imported.
func TestAnImageThatDoesNotSayItsPlatformIsTheHosts(t *testing.T) {
	host := platform.Host()
	tests := map[string]struct {
		config platform.Platform
		want   string // the platform, or a part of the error
		warns  bool
	}{
		"neither system nor processor": {platform.Platform{}, host.String(), true},
		"no system":                    {platform.Platform{Architecture: host.Architecture}, host.String(), true},
		"no processor":                 {platform.Platform{OS: "linux"}, host.String(), true},
		"another processor, no system": {platform.Platform{Architecture: "s390x"}, "is for linux/s390x, not for " + host.String(), false},
		"uname's name, and capitals":   {platform.Platform{OS: "Linux", Architecture: strings.ToUpper(unameOf(host))}, host.String(), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := layoutOf(t, map[string]v1.Image{"": imageOf(t, tt.config, layerOf(t, "bin/sh", "sh"))})
			s, log := loggedStore(t)
			img, err := s.Resolve(t.Context(), "oci:"+dir, host, false)
			if got := img.Platform.String(); err == nil && got != tt.want || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("resolved for %s, %v; want %s", got, err, tt.want)
			}
			if warned := strings.Contains(log.String(), "does not say for which platform"); warned != tt.warns {
				t.Errorf("warned: %v, want %v\n%s", warned, tt.warns, log)
			}
			if err != nil {
				return
			}
			imported, err := s.Import(t.Context(), "local/silent:1", dir, nil)
			if err != nil || imported.Platform != img.Platform {
				t.Errorf("imported for %s, %v; used directly it is for %s", imported.Platform, err, img.Platform)
			}
			for _, ref := range []string{"oci:" + dir, "local/silent:1"} {
				img, err := s.Pull(t.Context(), ref, host, nil)
				if err != nil || img.Platform != host {
					t.Fatalf("%s is for %s, %v", ref, img.Platform, err)
				}
				if _, err := s.Disk(t.Context(), img, 1<<20, nil); err != nil {
					t.Error(err)
				}
			}
			entries, err := s.List(t.Context())
			if err != nil || len(entries) != 2 || entries[0].Problem+entries[1].Problem != "" {
				t.Errorf("listed %+v, %v", entries, err)
			}
		})
	}
}

// unameOf returns the name that "uname -m" has for a processor.
func unameOf(p platform.Platform) string {
	return map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[p.Architecture]
}

// TestAnIndexSaysThePlatformOfItsImage covers what the config leaves out, and several silent images.
func TestAnIndexSaysThePlatformOfItsImage(t *testing.T) {
	write := func(described ...*v1.Platform) string {
		dir := filepath.Join(t.TempDir(), "layout")
		l, err := layout.Write(dir, empty.Index)
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range described {
			img := imageOf(t, platform.Platform{}, layerOf(t, "name", strings.Repeat("x", i+1)))
			if p == nil {
				err = l.AppendImage(img)
			} else {
				err = l.AppendImage(img, layout.WithPlatform(*p))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		return "oci:" + dir
	}
	foreign := v1.Platform{OS: "linux", Architecture: "s390x"}
	s390x, host := platforms("linux/s390x")[0], platform.Host()
	tests := map[string]struct {
		described []*v1.Platform
		want      platform.Platform
		bytes     int64 // of the name in the chosen image; 0 if there is an error
		err       string
	}{
		"the descriptor's platform counts":             {[]*v1.Platform{&foreign}, s390x, 1, ""},
		"the silent one of two is the host's":          {[]*v1.Platform{&foreign, nil}, host, 2, ""},
		"the one for the platform, not the silent one": {[]*v1.Platform{nil, {OS: "linux", Architecture: host.Architecture}}, host, 2, ""},
		"an empty platform is none":                    {[]*v1.Platform{{}}, host, 1, ""},
		"a silent one is not for another platform":     {[]*v1.Platform{nil}, s390x, 0, "is for " + host.String() + ", not for linux/s390x"},
		"two silent ones":                              {[]*v1.Platform{nil, nil}, host, 0, "none of its images says for which platform it is"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, t.TempDir())
			img, err := s.Pull(t.Context(), write(tt.described...), tt.want, nil)
			if tt.err != "" {
				wantError(t, err, "use an image that is built for", tt.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			wantDisk(t, s, img, tarOf(t, "name", strings.Repeat("x", int(tt.bytes))))
		})
	}
}
