package ext4

import (
	"archive/tar"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestOutputChangesOnlyWithFormatVersion pins the bytes of a disk that has a little of
// everything. An intended change needs a new FormatVersion and a new digest here; cached
// disks are then created again.
func TestOutputChangesOnlyWithFormatVersion(t *testing.T) {
	const (
		version = 3
		digest  = "9c1d27ebcf0f87ccc4116b26bb3c084f03b34fcc4eb122cac107892b04b0641b"
	)
	name := filepath.Join(t.TempDir(), "disk")
	if err := writeDisk(name, 256*mib, everything()...); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%x", h.Sum(nil)); got != digest || FormatVersion != version {
		t.Errorf("format %d gives a disk with the digest %s; format %d gave %s", FormatVersion, got, version, digest)
	}
}

// everything returns an image of two layers with all kinds of entries.
func everything() []Layer {
	lower := []entry{
		dir("etc"), file("etc/short", "x"), file("etc/gone", "x"), file("etc/long", strings.Repeat("0123456789abcdef", 9000)),
		symlink("etc/fast", "short"), symlink("etc/slow", strings.Repeat("far/", 40)), hardlink("etc/again", "etc/short"),
		device("tty", 5, 0),
		{Header: tar.Header{Typeflag: tar.TypeFifo, Name: "pipe", Mode: 0o600}},
		file("etc/cap", "x").with("security.capability", "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
		file("etc/large", "x").with("user.large", strings.Repeat("v", 2000)),
		file("etc/acl", "x").withACL("user::rw-,user:lisa:r--:502,group::r--,mask::r--,other::---"),
		file("etc/owned", "x").owned(3_000_000_000, 70_000),
		file("etc/early", "x").at(time.Date(1965, 1, 2, 3, 4, 5, 678, time.UTC)),
		file("etc/late", "x").at(time.Date(2100, 1, 2, 3, 4, 5, 678, time.UTC)),
		dir("many"), dir("hidden"), file("hidden/below", "x"),
	}
	for i := range 3000 {
		lower = append(lower, file(fmt.Sprintf("many/%04d", i), ""))
	}
	return []Layer{layerOf(lower...), layerOf(whiteout("etc/gone"), opaque("hidden"), file("hidden/above", "y"), file("etc/short", "z"))}
}
