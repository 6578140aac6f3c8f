package kernel

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/renameio/v2"
	"github.com/klauspost/compress/zstd"

	"github.com/stead-vm/stead/provider/durable"
)

// Archive is a kernel in an archive (tar, zstd) that somebody publishes.
type Archive struct {
	URL    string
	SHA256 string // of the archive, in hexadecimal
	Member string // path of the kernel in it
	Arch   string // of the kernel, as Go spells it
}

// Kata is the kernel that Apple's container boots by default: of Kata Containers'
// release for arm64, with all that a machine needs built in.
func Kata() Archive {
	return Archive{
		URL:    "https://github.com/kata-containers/kata-containers/releases/download/3.28.0/kata-static-3.28.0-arm64.tar.zst",
		SHA256: "f63d54507d1f18635d94475077e4c2330de4d8e05cedf25f7c38f063b0e66a91",
		Member: "opt/kata/share/kata-containers/vmlinux-6.18.15-186",
		Arch:   "arm64",
	}
}

// Bounds of what an archive can make us read, write and remember, in bytes.
const (
	maxArchive       = 16 << 30 // unpacked
	maxArchiveWindow = 128 << 20
	maxArchiveKernel = 512 << 20
)

const (
	fetchLock     = ".lock"
	fetchLockPoll = 50 * time.Millisecond
)

// path is where the kernel lies in dir. The digest in its name is the archive's, which is
// known before the kernel is.
func (a Archive) path(dir string) string {
	return filepath.Join(dir, a.SHA256+"-"+path.Base(a.Member))
}

// In is the kernel as Fetch left it in dir, or else a [*NotFetchedError].
func (a Archive) In(dir string) (Kernel, error) {
	k, err := openImage(a.path(dir))
	if err != nil { // what is damaged is fetched anew
		return Kernel{}, &NotFetchedError{Archive: a}
	}
	return k, nil
}

// Fetch makes sure that the kernel is in dir. Two who do so fetch once. With opens the
// archive, verified against its digest, and hands it to use. Whatever ends the process,
// only a whole kernel has a kernel's name.
func (a Archive) Fetch(ctx context.Context, dir string, with func(use func(io.Reader) error) error) error {
	if _, err := a.In(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	lock := flock.New(filepath.Join(dir, fetchLock), flock.SetPermissions(0o600))
	if _, err := lock.TryLockContext(ctx, fetchLockPoll); err != nil {
		return fmt.Errorf("waiting for another command that fetches a kernel: %w", cmp.Or(context.Cause(ctx), err))
	}
	defer func() { _ = lock.Unlock() }() // it goes with the process
	if _, err := a.In(dir); err == nil {
		return nil // another one was quicker
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
	defer func() { _ = f.Cleanup() }() // does nothing to a file that has its name
	if err := a.extract(f, archive); err != nil {
		return err
	}
	if _, err := openImage(f.Name()); err != nil {
		return &ArchiveError{Archive: a, Err: fmt.Errorf("%s in it is no uncompressed Image for %s", a.Member, a.Arch)}
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
			return &ArchiveError{Archive: a, Err: fmt.Errorf("%s is not in it", a.Member)}
		case err != nil:
			return &ArchiveError{Archive: a, Err: err}
		case path.Clean(h.Name) != a.Member:
			continue
		case h.Typeflag != tar.TypeReg || h.Size > maxArchiveKernel:
			return &ArchiveError{Archive: a, Err: fmt.Errorf("%s in it is no file of at most %d bytes", a.Member, maxArchiveKernel)}
		}
		in := &source{Reader: t}
		_, err = io.Copy(w, in)
		if in.err != nil {
			return &ArchiveError{Archive: a, Err: in.err}
		}
		return err
	}
}

// source remembers whether it was reading that failed: a full disk is no fault of what
// is copied to it.
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

// FetchedBefore is the newest kernel that any version of this program has left in dir: it
// boots machines where the wanted one cannot be fetched. Without one the error is
// [fs.ErrNotExist].
func FetchedBefore(dir string) (Kernel, error) { return newestImage(dir) }
