package ext4

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const mib = 1 << 20

// entry is a tar entry and its content.
type entry struct {
	tar.Header
	body string
}

func folderAt(name string, mode int64) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode}}
}
func dir(name string) entry { return folderAt(name, 0o700) }
func file(name, body string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(body))}, body}
}

func symlink(name, target string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}}
}

func hardlink(name, target string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target}}
}

func whiteout(name string) entry {
	folder, base := filepath.Split(name)
	return file(folder+whiteoutPrefix+base, "")
}
func opaque(folder string) entry { return file(folder+"/"+opaqueMarker, "") }

func device(name string, major, minor int64) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeChar, Name: name, Mode: 0o600, Devmajor: major, Devminor: minor}}
}

// with returns e with extended attributes.
func (e entry) with(attrs ...string) entry {
	e.PAXRecords = map[string]string{}
	for i := 0; i < len(attrs); i += 2 {
		e.PAXRecords[paxAttr+attrs[i]] = attrs[i+1]
	}
	return e
}

// withACL returns e with a text ACL.
func (e entry) withACL(text string) entry {
	e.PAXRecords = map[string]string{paxACLAccess: text}
	return e
}

func (e entry) mode(mode int64) entry {
	e.Mode = mode
	return e
}

func (e entry) owned(uid, gid int) entry {
	e.Uid, e.Gid = uid, gid
	return e
}

func (e entry) at(when time.Time) entry {
	e.ModTime = when
	e.Format = tar.FormatPAX
	return e
}

// tarOf returns a tar stream. It panics if the tar writer rejects an entry.
func tarOf(entries ...entry) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if e.ModTime.IsZero() {
			e.ModTime = time.Unix(1700000000, 0)
		}
		if err := w.WriteHeader(&e.Header); err != nil {
			panic(fmt.Sprintf("%s: %v", e.Name, err))
		}
		if _, err := io.WriteString(w, e.body); err != nil {
			panic(fmt.Sprintf("%s: %v", e.Name, err))
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func layerOf(entries ...entry) Layer {
	return layerFrom("sha256:test", tarOf(entries...))
}

func layerFrom(name string, b []byte) Layer {
	return Layer{name, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }}
}

// makeDisk writes a disk, checks it with e2fsck and returns its path.
func makeDisk(tb testing.TB, size int64, layers ...Layer) string {
	tb.Helper()
	name := filepath.Join(tb.TempDir(), "disk")
	if err := writeDisk(name, size, layers...); err != nil {
		tb.Fatal(err)
	}
	fsck(tb, name)
	return name
}

func writeDisk(name string, size int64, layers ...Layer) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = Write(context.Background(), f, layers, Options{Size: size, Digest: "sha256:0123"})
	return err
}

// tool finds a program of e2fsprogs, which distributions keep out of users' PATH.
func tool(tb testing.TB, name string) string {
	tb.Helper()
	for _, folder := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		p := filepath.Join(folder, name)
		if _, err := exec.LookPath(p); err == nil {
			return p
		}
	}
	tb.Skipf("needs %s (package e2fsprogs)", name)
	return ""
}

func fsck(tb testing.TB, disk string) {
	tb.Helper()
	out, err := exec.Command(tool(tb, "e2fsck"), "-fn", disk).CombinedOutput()
	if err != nil {
		tb.Fatalf("e2fsck: %v\n%s", err, out)
	}
}

// debugfs runs commands on a disk. It needs no privileges.
func debugfs(tb testing.TB, disk string, commands ...string) string {
	tb.Helper()
	cmd := exec.Command(tool(tb, "debugfs"), "-f", "-", disk)
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n"))
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("debugfs: %v", err)
	}
	return string(out)
}

// listing reads a disk back. It maps each path, except lost+found, to its type, mode,
// owner and content, or to "= other" for a further name of a file.
func listing(tb testing.TB, disk string) map[string]string {
	tb.Helper()
	dump := tb.TempDir()
	debugfs(tb, disk, "rdump / "+dump)
	found, first := map[string]string{}, map[string]string{}
	folders := []string{""}
	for len(folders) > 0 {
		folder := folders[0]
		folders = folders[1:]
		lines := strings.Split(debugfs(tb, disk, "ls -p /"+folder), "\n")
		slices.Sort(lines)
		entries := map[string][]string{}
		for _, line := range lines {
			// /inode/mode/uid/gid/name/size/
			if f := strings.Split(line, "/"); len(f) == 8 && f[5] != "." && f[5] != ".." && f[5] != lostAndFound {
				entries[f[5]] = f
			}
		}
		for _, name := range slices.Sorted(maps.Keys(entries)) {
			f, p := entries[name], filepath.Join(folder, name)
			if other := first[f[1]]; other != "" {
				found[p] = "= " + other
				continue
			}
			first[f[1]] = p
			mode, err := strconv.ParseUint(f[2], 8, 16)
			if err != nil {
				tb.Fatal(err)
			}
			found[p] = describe(tb, filepath.Join(dump, p), uint16(mode), f[3]+":"+f[4])
			if mode&typeMask == typeFolder {
				folders = append(folders, p)
			}
		}
	}
	return found
}

func describe(tb testing.TB, dumped string, mode uint16, owner string) string {
	tb.Helper()
	text := fmt.Sprintf("%04o", mode&0o7777)
	if owner != "0:0" {
		text += " " + owner
	}
	switch mode & typeMask {
	case typeFolder:
		return "dir " + text
	case typeSymlink:
		target, err := os.Readlink(dumped)
		if err != nil {
			tb.Fatal(err)
		}
		return "-> " + target
	case typeRegular:
		b, err := os.ReadFile(dumped)
		if err != nil {
			tb.Fatal(err)
		}
		return fmt.Sprintf("file %s %s", text, b)
	}
	return fmt.Sprintf("type %#x %s", mode&typeMask, text)
}
