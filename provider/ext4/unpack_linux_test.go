package ext4

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"
)

// TestDiskEqualsAnotherToolsOutput lets umoci unpack the same layers onto a file system
// of mke2fs, and compares what the kernel shows of every entry of both.
func TestDiskEqualsAnotherToolsOutput(t *testing.T) {
	t.Parallel()
	tars := commonLayers()
	var merged []Layer
	for _, b := range tars {
		merged = append(merged, layerFrom("sha256:test", b))
	}
	ours := mount(t, makeDisk(t, 512*mib, merged...), "ro")
	theirs := unpackedByUmoci(t, tars)
	want, got := allOf(t, theirs), allOf(t, ours)
	if len(want) < 12000 {
		t.Errorf("umoci has unpacked only %d entries", len(want))
	}
	if d := gocmp.Diff(want, got); d != "" {
		t.Errorf("files (-umoci +stead):\n%.5000s", d)
	}
}

// commonLayers returns the awkward image and typical further layers. It omits cases where
// umoci 0.4.7 is known to be wrong or where the specification leaves a choice: a
// whiteout after what its own layer adds, directories that no entry describes (including
// one that replaces a file), attributes that Linux refuses or that are empty, and years
// beyond 2262.
func commonLayers() [][]byte {
	lower, upper := awkwardEntries()
	lower = slices.DeleteFunc(lower, func(e entry) bool { return e.Name == "attrs" || e.Name == "attrlink" || e.Name == "far" })
	lower = append(lower,
		file("attrs", "x").with("user.small", "s", "user.large", strings.Repeat("L", 3000), "trusted.t", strings.Repeat("t", 77)),
		file("etc/kept", "1"), file("etc/gone", "2"), file("etc/replaced", "old").owned(7, 8).with("user.old", "x"),
		hardlink("etc/replaced2", "etc/replaced"), file("etc/removed", "r"), hardlink("etc/removed2", "etc/removed"),
		file("usr/lib/a", "a"), symlink("lib", "usr/lib"), symlink("up", "../../../usr/lib"),
		file("opaque/1", ""), file("opaque/d/2", ""), file("again/1", ""),
		file("d-f-s/x", ""), file("f-s-d", ""), symlink("s-d-f", "usr"),
		file("f-d-f", "1"), file("d-f-d/x", ""), symlink("s-f-s", "usr"),
	)
	second := []entry{
		whiteout("etc/gone"), file("etc/replaced", "new"), whiteout("etc/removed"), hardlink("etc/kept2", "etc/kept"),
		file("lib/b", "b"), file("up/c", "c"),
		folderAt("opaque", 0o711).owned(5, 6), opaque("opaque"), file("opaque/3", "3"),
		whiteout("again"), dir("again"), file("again/2", "2"),
		file("d-f-s", "now a file"), symlink("f-s-d", "usr"), dir("s-d-f"), file("s-d-f/x", ""),
		dir("f-d-f"), file("f-d-f/x", ""), file("d-f-d", ""), file("s-f-s", ""),
		file("twice", "first").owned(1, 1).with("user.first", "x"), file("twice", "second"),
		whiteout("many/file-1-\xc3\xa4"), whiteout("long-names"),
	}
	third := []entry{
		hardlink("etc/kept3", "etc/kept2"), file("etc/kept", "upper"), symlink("d-f-s", "usr"), dir("f-s-d"), file("f-s-d/y", ""),
		file("s-d-f", "at last a file"), file("f-d-f", "3"), dir("d-f-d"), file("d-f-d/y", ""), symlink("s-f-s", "etc"),
	}
	var tars [][]byte
	known := map[string]bool{".": true, "lib": true, "up": true}
	for _, l := range [][]entry{lower, upper, second, third} {
		tars = append(tars, tarOf(described(l, known)...))
	}
	return tars
}

// described adds an entry for every directory that has none.
func described(entries []entry, known map[string]bool) (all []entry) {
	for _, e := range entries {
		name := filepath.Clean(e.Name)
		parts := strings.Split(filepath.Dir(name), "/")
		for i := range parts {
			if p := strings.Join(parts[:i+1], "/"); !known[p] {
				known[p] = true
				all = append(all, folderAt(p, 0o755))
			}
		}
		known[name] = true
		all = append(all, e)
	}
	return all
}

// unpackedByUmoci returns the root of a mounted file system.
func unpackedByUmoci(t *testing.T, tars [][]byte) string {
	t.Helper()
	if _, err := exec.LookPath("umoci"); err != nil {
		t.Skip("needs umoci (package umoci)")
	}
	img := empty.Image
	for _, b := range tars {
		var err error
		if img, err = mutate.AppendLayers(img, static.NewLayer(b, types.OCIUncompressedLayer)); err != nil {
			t.Fatal(err)
		}
	}
	img = mutate.ConfigMediaType(mutate.MediaType(img, types.OCIManifestSchema1), types.OCIConfigJSON)
	dir := t.TempDir()
	l, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	named := layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "image"})
	if err := l.AppendImage(img, named); err != nil {
		t.Fatal(err)
	}
	disk := filepath.Join(t.TempDir(), "disk")
	output(t, tool(t, "mke2fs"), "-q", "-F", "-t", "ext4", disk, "512M")
	root := filepath.Join(mount(t, disk, "rw"), "root")
	output(t, "umoci", "raw", "unpack", "--image", dir+":image", root)
	return root
}

// allOf describes each entry below root by all metadata that a program can query.
func allOf(t *testing.T, root string) map[string]string {
	t.Helper()
	found, first := map[string]string{}, map[uint64]string{}
	err := filepath.WalkDir(root, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := "." + strings.TrimPrefix(p, root)
		if name == "./"+lostAndFound {
			return fs.SkipDir
		}
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return err
		}
		links := fmt.Sprint(st.Nlink)
		if name == "." {
			links = "with or without lost+found"
		}
		s := fmt.Sprintf("mode %o links %s owner %d:%d device %d:%d time %d", st.Mode, links, st.Uid, st.Gid,
			unix.Major(st.Rdev), unix.Minor(st.Rdev), st.Mtim.Nano())
		if other := first[st.Ino]; other != "" && st.Nlink > 1 {
			s += " same as " + other
		} else {
			first[st.Ino] = name
		}
		found[name] = s + attributes(t, p) + contents(t, p, st.Mode, st.Size)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func attributes(t *testing.T, p string) (s string) {
	t.Helper()
	list := make([]byte, 64<<10)
	n, err := unix.Llistxattr(p, list)
	if err != nil {
		t.Fatalf("%s: %v", p, err)
	}
	values := map[string]string{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(p, name, value)
		if err != nil {
			t.Fatalf("%s: %s: %v", p, name, err)
		}
		values[name] = string(value[:n])
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		s += fmt.Sprintf(" %s=%q", name, values[name])
	}
	return s
}

func contents(t *testing.T, p string, mode uint32, size int64) string {
	t.Helper()
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf(" size %d content %x", size, sha256.Sum256(b))
	case unix.S_IFLNK:
		target, err := os.Readlink(p)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf(" size %d -> %s", size, target)
	}
	return ""
}
