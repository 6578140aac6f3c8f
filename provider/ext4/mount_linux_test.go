package ext4

import (
	"archive/tar"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// mount mounts a disk through a loop device. CI runs these tests as root.
func mount(t *testing.T, disk, options string) (folder string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	folder = t.TempDir()
	if out, err := exec.Command("mount", "-o", "loop,"+options, "-t", "ext4", disk, folder).CombinedOutput(); err != nil {
		if _, serr := os.Stat("/dev/loop-control"); serr != nil {
			t.Skipf("needs loop devices: %v", serr)
		}
		t.Fatalf("mount: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", folder).CombinedOutput(); err != nil {
			t.Errorf("umount: %v\n%s", err, out)
		}
	})
	return folder
}

// TestKernelReadsTheFilesOfTheLayers compares every entry, as the kernel shows it, with an
// independent reading of the layers. The awkward image has each name once, so no
// merging is involved.
func TestKernelReadsTheFilesOfTheLayers(t *testing.T) {
	t.Parallel()
	layers := awkward()
	root := mount(t, makeDisk(t, 512*mib, layers...), "ro")
	want := map[string]string{}
	links := map[string][]string{}
	for _, l := range layers {
		readLayer(t, l, want, links)
	}
	for source, others := range links {
		want[source] = strings.Replace(want[source], "links 1", fmt.Sprintf("links %d", 1+len(others)), 1)
		for _, other := range others {
			want[other] = want[source]
		}
	}
	got := map[string]string{}
	for _, p := range paths(t, root) {
		got[p] = seen(t, root, p)
	}
	if d := gocmp.Diff(want, got); d != "" {
		t.Errorf("files (-layers +kernel):\n%.5000s", d)
	}
}

// readLayer describes a layer's entries, except directories' sizes and link counts.
func readLayer(t *testing.T, l Layer, want map[string]string, links map[string][]string) {
	t.Helper()
	stream, err := l.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	for tr := tar.NewReader(stream); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		name := path.Clean(h.Name)
		if h.Typeflag == tar.TypeLink {
			links[h.Linkname] = append(links[h.Linkname], name)
			continue
		}
		content, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		s := fmt.Sprintf("owner %d:%d time %d device %d:%d", h.Uid, h.Gid, h.ModTime.UnixNano()/1e3, h.Devmajor, h.Devminor)
		mode := h.Mode
		if h.Typeflag == tar.TypeSymlink {
			mode = 0o777
		}
		s += fmt.Sprintf(" mode %o", mode)
		if h.Typeflag != tar.TypeDir {
			s += fmt.Sprintf(" size %d links 1", h.Size+int64(len(h.Linkname)))
		}
		for _, attr := range watched {
			if v, ok := h.PAXRecords[paxAttr+attr]; ok && (h.Typeflag != tar.TypeSymlink || attr == "trusted.l") {
				s += fmt.Sprintf(" %s=%q", attr, v)
			}
		}
		want[name] = s + fmt.Sprintf(" content %x", checksum(1, append(content, h.Linkname...)))
	}
}

// watched lists the attributes of the awkward image in the order of comparison.
var watched = []string{
	"security.capability", "system.posix_acl_access", "system.posix_acl_default", "trusted.l", "trusted.t", "user.a",
	"user.empty", "user.large", "user.never", "user.small", "user." + strings.Repeat("n", 200),
}

// seen describes a file as the kernel shows it.
func seen(t *testing.T, root, name string) string {
	t.Helper()
	p := filepath.Join(root, name)
	var st unix.Stat_t
	if err := unix.Lstat(p, &st); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	content := []byte{}
	s := fmt.Sprintf("owner %d:%d time %d device %d:%d mode %o", st.Uid, st.Gid, st.Mtim.Nano()/1e3,
		unix.Major(st.Rdev), unix.Minor(st.Rdev), st.Mode&0o7777)
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		s += fmt.Sprintf(" size %d links %d", st.Size, st.Nlink)
	}
	for _, attr := range watched {
		b := make([]byte, 4096)
		if n, err := unix.Lgetxattr(p, attr, b); err == nil {
			s += fmt.Sprintf(" %s=%q", attr, b[:n])
		}
	}
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		content, err = os.ReadFile(p)
	case unix.S_IFLNK:
		var target string
		target, err = os.Readlink(p)
		content = []byte(target)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s + fmt.Sprintf(" content %x", checksum(1, content))
}

// paths lists everything below root except lost+found and directories without an entry
// of their own.
func paths(t *testing.T, root string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(strings.TrimPrefix(p, root), "/")
		top, _, _ := strings.Cut(name, "/")
		if d.IsDir() && (top == "many" || top == "long-names" || top == "deep" || top == lostAndFound) {
			return nil
		}
		all = append(all, cmp.Or(name, "."))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestGrowsOnline grows a mounted disk by far more than its descriptors leave room for,
// then fills new space.
func TestGrowsOnline(t *testing.T) {
	t.Parallel()
	resize := tool(t, "resize2fs")
	for _, sizes := range [][2]int64{{256 * mib, 40 << 30}, {2<<30 + 4096, 3 << 30}, {64 << 30, 600 << 30}} {
		t.Run(fmt.Sprint(sizes), func(t *testing.T) {
			disk := makeDisk(t, sizes[0], layerOf(file("a", noise(mib))))
			t.Run("mounted", func(t *testing.T) {
				root := mount(t, disk, "rw")
				if err := os.Truncate(disk, sizes[1]); err != nil {
					t.Fatal(err)
				}
				device := output(t, "findmnt", "-n", "-o", "SOURCE", root)
				output(t, "losetup", "-c", device)
				if out, err := exec.Command(resize, device).CombinedOutput(); bytes.Contains(out, []byte("Permission denied")) {
					t.Skip("growing a mounted disk needs CAP_SYS_RESOURCE")
				} else if err != nil {
					t.Fatalf("resize2fs: %v\n%s", err, out)
				}
				var st unix.Statfs_t
				if err := unix.Statfs(root, &st); err != nil {
					t.Fatal(err)
				}
				if got := int64(st.Blocks) * st.Bsize; got < sizes[1]*95/100 {
					t.Errorf("after growing the disk has %d bytes, want nearly %d", got, sizes[1])
				}
				for i := range 300 {
					if err := os.WriteFile(fmt.Sprintf("%s/new%d", root, i), bytes.Repeat([]byte{'x'}, mib), 0o644); err != nil {
						t.Fatal(err)
					}
				}
			})
			fsck(t, disk)
		})
	}
}

// TestKernelCanWorkWithTheDisk changes a written disk: it splits full index blocks,
// grows files and removes names.
func TestKernelCanWorkWithTheDisk(t *testing.T) {
	t.Parallel()
	disk := makeDisk(t, 512*mib, awkward()...)
	t.Run("mounted", func(t *testing.T) {
		root := mount(t, disk, "rw")
		for i := range 3000 {
			if err := os.WriteFile(fmt.Sprintf("%s/many/new-%d", root, i), []byte("x"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 6000 {
			if err := os.Remove(fmt.Sprintf("%s/many/file-%d-\xc3\xa4", root, 2*i)); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{"shreds1400", "attrs", "deep"} {
			if err := os.RemoveAll(filepath.Join(root, name)); err != nil {
				t.Fatal(err)
			}
		}
		if err := unix.Lsetxattr(root+"/acl", "user.more", bytes.Repeat([]byte{'m'}, 2000), 0); err != nil {
			t.Fatal(err)
		}
	})
	fsck(t, disk)
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}
