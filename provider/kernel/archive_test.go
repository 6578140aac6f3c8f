package kernel

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/gofrs/flock"
	"github.com/klauspost/compress/zstd"
)

const member = "opt/kernels/vmlinux-6.18.15"

// archived returns an archive of files, given as name, content, name, content…
func archived(t testing.TB, files ...string) (Archive, []byte) {
	t.Helper()
	var packed bytes.Buffer
	z, err := zstd.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	for i := 0; i < len(files); i += 2 {
		h := &tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1]))}
		if target, ok := strings.CutPrefix(files[i+1], "-> "); ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, target, 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := io.WriteString(w, files[i+1]); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	data := packed.Bytes()
	return Archive{
		URL: "https://example.com/kernels.tar.zst", SHA256: fmt.Sprintf("%x", sha256.Sum256(data)), Member: member, Arch: "arm64",
	}, data
}

// from returns a download of data for [Archive.Fetch] that counts its calls.
func from(data []byte, count *atomic.Int32) func(func(io.Reader) error) error {
	return func(use func(io.Reader) error) error {
		count.Add(1)
		return use(bytes.NewReader(data))
	}
}

func TestAKernelIsDownloadedOnce(t *testing.T) {
	image := string(arm64Image("6.18.15"))
	for name, files := range map[string][]string{
		"under its exact name":     {"opt/other", "x", member, image},
		"with a leading dot":       {"./opt/", "", "./" + member, image},
		"beside a link to it":      {"opt/kernels/vmlinux.container", "-> vmlinux-6.18.15", member, image},
		"larger than a zstd block": {member, image + strings.Repeat("\x00", 3<<20)},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "kernels")
			a, data := archived(t, files...)
			var later *NotFetchedError
			if _, err := a.In(dir); !errors.As(err, &later) || later.Remedy() == "" {
				t.Fatalf("before it is fetched: %v", err)
			}
			var count atomic.Int32
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					if err := a.Fetch(t.Context(), dir, nil, from(data, &count)); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			k, err := a.In(dir)
			if err != nil || k.Release != "6.18.15" || k.Arch != "arm64" || count.Load() != 1 {
				t.Errorf("In = %+v, %v after %d fetches", k, err, count.Load())
			}
			wantFiles(t, dir, filepath.Base(k.Path))
		})
	}
}

// logLines receives what is logged.
type logLines chan string

func (l logLines) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

func TestWaitForADownloadOfAnotherProcessIsTold(t *testing.T) {
	dir := t.TempDir()
	a, data := archived(t, member, string(arm64Image("6.18.15")))
	held := flock.New(filepath.Join(dir, fetchLock))
	if ok, err := held.TryLock(); err != nil || !ok {
		t.Fatal(ok, err)
	}
	said := make(logLines, 4)
	var count atomic.Int32
	fetched := make(chan error, 1)
	go func() {
		fetched <- a.Fetch(t.Context(), dir, slog.New(slog.NewTextHandler(said, nil)), from(data, &count))
	}()
	if line := <-said; !strings.Contains(line, "waiting for another stead process that downloads a kernel") {
		t.Errorf("logged %q", line)
	}
	if err := held.Unlock(); err != nil {
		t.Fatal(err)
	}
	if err := <-fetched; err != nil || count.Load() != 1 {
		t.Errorf("Fetch = %v after %d", err, count.Load())
	}
}

// wantFiles compares the names of the directory's files, without the lock.
func wantFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		if e.Name() != fetchLock {
			got = append(got, e.Name())
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("the directory has %q, want %q", got, want)
	}
}

func TestUnusableArchivesLeaveNothing(t *testing.T) {
	image := string(arm64Image("6.18.15"))
	whole, data := archived(t, member, image+strings.Repeat("abc", 100_000))
	archive := func(files ...string) []byte { _, data := archived(t, files...); return data }
	tests := map[string]struct {
		data []byte
		says string
	}{
		"without the kernel":       {archive("opt/other", image), member + " not found in the archive"},
		"with a link in its place": {archive(member, "-> ../../etc/passwd"), "is not a file of at most"},
		"with another file":        {archive(member, "hello"), "is not an uncompressed Image for arm64"},
		"with a packed kernel":     {archive(member, string(gzipped(t, []byte(image)))), "is not an uncompressed Image"},
		"for other processors":     {archive(member, string(bzImage("6.18.15", nil))), "is not an uncompressed Image"},
		"truncated":                {data[:len(data)-20], "archive " + whole.URL},
		"in another format":        {[]byte("PK\x03\x04"), "archive " + whole.URL},
		"empty":                    {nil, "not found in the archive"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var count atomic.Int32
			err := whole.Fetch(t.Context(), dir, nil, from(tt.data, &count))
			var useless *ArchiveError
			if !errors.As(err, &useless) || !strings.Contains(err.Error(), tt.says) || !strings.Contains(useless.Remedy(), "kernel = ") {
				t.Errorf("Fetch = %v, want an ArchiveError with %q", err, tt.says)
			}
			wantFiles(t, dir)
		})
	}
}

func TestAFetchThatEndsEarlyLeavesNothing(t *testing.T) {
	a, data := archived(t, member, string(arm64Image("6.18.15"))+strings.Repeat("abc", 1_000_000))
	stopped := errors.New("interrupted")
	tests := map[string]func(use func(io.Reader) error) error{
		"before the archive is complete": func(func(io.Reader) error) error { return stopped },
		"while it is read": func(use func(io.Reader) error) error {
			return use(io.MultiReader(bytes.NewReader(data[:len(data)/2]), failingStream{stopped}))
		},
	}
	for name, with := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := a.Fetch(t.Context(), dir, nil, with); !errors.Is(err, stopped) {
				t.Errorf("Fetch = %v", err)
			}
			wantFiles(t, dir)
		})
	}
	t.Run("by being killed", func(t *testing.T) {
		dir := t.TempDir()
		left := filepath.Join(dir, "."+filepath.Base(a.path(dir))+"12345")
		if err := os.WriteFile(left, arm64Image("6.18.15"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := a.In(dir); err == nil {
			t.Error("an incomplete kernel was found")
		}
		if _, err := FetchedBefore(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("FetchedBefore = %v", err)
		}
		var count atomic.Int32
		if err := a.Fetch(t.Context(), dir, nil, from(data, &count)); err != nil {
			t.Fatal(err)
		}
		wantFiles(t, dir, filepath.Base(a.path(dir)))
	})
	t.Run("by a full disk", func(t *testing.T) {
		err := a.extract(failingStream{syscall.ENOSPC}, bytes.NewReader(data))
		var useless *ArchiveError
		if !errors.Is(err, syscall.ENOSPC) || errors.As(err, &useless) {
			t.Errorf("extract = %v, want an error that does not blame the archive", err)
		}
	})
}

type failingStream struct{ err error }

func (f failingStream) Read([]byte) (int, error)  { return 0, f.err }
func (f failingStream) Write([]byte) (int, error) { return 0, f.err }

func TestADamagedKernelIsDownloadedAgain(t *testing.T) {
	dir := t.TempDir()
	a, data := archived(t, member, string(arm64Image("6.18.15")))
	if err := os.WriteFile(a.path(dir), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var count atomic.Int32
	if err := a.Fetch(t.Context(), dir, nil, from(data, &count)); err != nil || count.Load() != 1 {
		t.Errorf("Fetch = %v after %d", err, count.Load())
	}
	if _, err := a.In(dir); err != nil {
		t.Error(err)
	}
}

func TestFetchedBeforeReturnsTheNewestKernel(t *testing.T) {
	dir := write(t, map[string]string{
		"0123-vmlinux-6.9.1": string(arm64Image("6.9.1")), "4567-vmlinux-6.12.2": string(arm64Image("6.12.2")),
		"89ab-vmlinux-6.20": "", "cdef-vmlinuz-6.20": string(bzImage("6.20", nil)),
	})
	if k, err := FetchedBefore(dir); err != nil || k.Release != "6.12.2" {
		t.Errorf("FetchedBefore = %+v, %v", k, err)
	}
}

func FuzzArchive(f *testing.F) {
	_, good := archived(f, "opt/other", "x", member, string(arm64Image("6.18.15")))
	_, linked := archived(f, member, "-> elsewhere")
	f.Add(good)
	f.Add(linked)
	f.Add(good[:len(good)/2])
	a, _ := archived(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		var out bytes.Buffer
		err := a.extract(&out, bytes.NewReader(data))
		var useless *ArchiveError
		if err != nil && !errors.As(err, &useless) {
			t.Errorf("extract = %v, want an ArchiveError", err)
		}
	})
}
