package kernel

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/klauspost/compress/zstd"

	"github.com/stead-vm/stead/provider/durable"
	"github.com/stead-vm/stead/provider/filelock"
)

// Archive is a kernel in a published archive (tar, zstd).
type Archive struct {
	URL    string
	SHA256 string // of the archive, in hexadecimal
	Member string // path of the kernel in the archive
	Arch   string // of the kernel, as Go spells it
}

// Kata returns the kernel that Apple's container boots by default: the arm64 kernel of a
// Kata Containers release, which has everything that a machine needs built in.
func Kata() Archive {
	return Archive{
		URL:    "https://github.com/kata-containers/kata-containers/releases/download/3.28.0/kata-static-3.28.0-arm64.tar.zst",
		SHA256: "f63d54507d1f18635d94475077e4c2330de4d8e05cedf25f7c38f063b0e66a91",
		Member: "opt/kata/share/kata-containers/vmlinux-6.18.15-186",
		Arch:   "arm64",
	}
}

// Limits of what an archive can make us read, write and keep in memory, in bytes.
const (
	maxArchive       = 16 << 30 // unpacked
	maxArchiveWindow = 128 << 20
	maxArchiveKernel = 512 << 20
)

const fetchLock = ".lock"

// path returns the path of the kernel in dir. Its name contains the digest of the archive,
// which is known before the kernel is downloaded.
func (a Archive) path(dir string) string {
	return filepath.Join(dir, a.SHA256+"-"+path.Base(a.Member))
}

// In returns the kernel that Fetch has stored in dir, or else a [*NotFetchedError].
func (a Archive) In(dir string) (Kernel, error) {
	k, err := openImage(a.path(dir))
	if err != nil { // a damaged kernel is downloaded again
		return Kernel{}, &NotFetchedError{Archive: a}
	}
	return k, nil
}

// Fetch ensures that the kernel is in dir. Concurrent callers download it once. with opens
// the archive, verified against its digest, and calls use with its content. However the
// process ends, only a complete kernel has the final name. log, which may be nil, reports a
// wait for another process.
func (a Archive) Fetch(ctx context.Context, dir string, log *slog.Logger, with func(use func(io.Reader) error) error) error {
	if _, err := a.In(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	unlock, err := filelock.File{Path: filepath.Join(dir, fetchLock), Log: log}.Lock(ctx, "downloads a kernel")
	if err != nil {
		return fmt.Errorf("wait for another process that downloads a kernel: %w", err)
	}
	defer unlock()
	if _, err := a.In(dir); err == nil {
		return nil // another process was faster
	}
	if err := clearKilled(dir); err != nil {
		return err
	}
	return with(func(r io.Reader) error { return a.keep(dir, r) })
}

// clearKilled removes what killed processes have left. The lock is held.
func clearKilled(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") && e.Name() != fetchLock {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// keep stores the kernel of the archive in dir.
func (a Archive) keep(dir string, archive io.Reader) error {
	f, err := renameio.NewPendingFile(a.path(dir), renameio.WithTempDir(dir), renameio.WithPermissions(0o600))
	if err != nil {
		return err
	}
	defer func() { _ = f.Cleanup() }() // does nothing after the rename
	if err := a.extract(f, archive); err != nil {
		return err
	}
	if _, err := openImage(f.Name()); err != nil {
		return &ArchiveError{Archive: a, Err: fmt.Errorf("%s is not an uncompressed Image for %s", a.Member, a.Arch)}
	}
	if err := f.CloseAtomicallyReplace(); err != nil {
		return err
	}
	return durable.SyncDir(dir)
}

// extract writes the kernel to w.
func (a Archive) extract(w io.Writer, archive io.Reader) error {
	z, err := zstd.NewReader(archive, zstd.WithDecoderMaxWindow(maxArchiveWindow))
	if err != nil {
		return &ArchiveError{Archive: a, Err: err}
	}
	defer z.Close()
	t := tar.NewReader(io.LimitReader(z, maxArchive))
	for {
		h, err := t.Next()
		switch {
		case errors.Is(err, io.EOF):
			return &ArchiveError{Archive: a, Err: fmt.Errorf("%s not found in the archive", a.Member)}
		case err != nil:
			return &ArchiveError{Archive: a, Err: err}
		case path.Clean(h.Name) != a.Member:
			continue
		case h.Typeflag != tar.TypeReg || h.Size > maxArchiveKernel:
			return &ArchiveError{Archive: a, Err: fmt.Errorf("%s is not a file of at most %d bytes", a.Member, maxArchiveKernel)}
		}
		in := &source{Reader: t}
		_, err = io.Copy(w, in)
		if in.err != nil {
			return &ArchiveError{Archive: a, Err: in.err}
		}
		return err
	}
}

// source records errors of reading, to distinguish them from errors of writing such as a
// full disk.
type source struct {
	io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// FetchedBefore returns the newest kernel that any version of this program has stored in
// dir, as a fallback if the current one cannot be downloaded. Without one the error is
// [fs.ErrNotExist].
func FetchedBefore(dir string) (Kernel, error) { return newestImage(dir) }
