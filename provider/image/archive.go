package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/stead-vm/stead/provider/regular"
	"github.com/stead-vm/stead/provider/transfer"
)

// files is a directory tree with an image: a real one, or the members of a tarball.
type files interface {
	// open opens a file by its slash-separated path. A missing one is [fs.ErrNotExist].
	open(name string) (io.ReadCloser, int64, error)
	Close() error
}

// folder is a directory of the host.
type folder string

func (f folder) open(name string) (io.ReadCloser, int64, error) {
	file, err := regular.Open(filepath.Join(string(f), filepath.FromSlash(name)))
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, info.Size(), nil
}

// Close does nothing.
func (folder) Close() error { return nil }

// tarFile gives random access to the members of a tar file.
type tarFile struct {
	f       *os.File
	members map[string]member
}

// member is the place of a file's content in the tar file, or the name of the member that
// it links to.
type member struct {
	offset, size int64
	link         string
}

// maxLinks bounds chains of links. Old versions of "docker save" wrote a symbolic link for
// a layer that two images share.
const maxLinks = 8

// openTarball reads the headers of a tar file. It first unpacks a compressed one into a
// file in tmp, which disappears when the tarball is closed.
func openTarball(ctx context.Context, file, tmp string) (*tarFile, error) {
	f, err := regular.Open(file)
	if err != nil {
		return nil, err
	}
	r, c, err := decompress(f)
	if err == nil && c != plain {
		packed := f
		f, err = spool(ctx, r, tmp)
		err = errors.Join(err, r.Close(), packed.Close())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", file, err), closeIf(f))
	}
	t := &tarFile{f: f, members: map[string]member{}}
	if err := t.scan(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%s is not a complete tarball: %w", file, err), f.Close())
	}
	return t, nil
}

func closeIf(f *os.File) error {
	if f == nil {
		return nil
	}
	return f.Close()
}

// spool copies r to an unlinked temporary file.
func spool(ctx context.Context, r io.Reader, tmp string) (*os.File, error) {
	f, err := os.CreateTemp(tmp, "spool-")
	if err != nil {
		return nil, err
	}
	err = os.Remove(f.Name())
	if err == nil {
		_, err = io.Copy(f, transfer.Reader(ctx, r))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// scan records the offset of each member. The tar reader only reads headers and seeks over
// the rest, so the position of the file after a header is the offset of the content.
func (t *tarFile) scan(ctx context.Context) error {
	if _, err := t.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	for tr := tar.NewReader(t.f); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		at, err := t.f.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		name := memberName(h.Name)
		switch h.Typeflag {
		case tar.TypeReg:
			t.members[name] = member{offset: at, size: h.Size}
		case tar.TypeSymlink:
			t.members[name] = member{link: path.Join(path.Dir(name), h.Linkname)}
		case tar.TypeLink:
			t.members[name] = member{link: memberName(h.Linkname)}
		}
	}
}

// memberName returns a path within an archive in its shortest form.
func memberName(s string) string { return strings.TrimPrefix(path.Clean("/"+s), "/") }

func (t *tarFile) open(name string) (io.ReadCloser, int64, error) {
	at := memberName(name)
	for range maxLinks {
		m, ok := t.members[at]
		if !ok {
			break
		}
		if m.link == "" {
			return io.NopCloser(io.NewSectionReader(t.f, m.offset, m.size)), m.size, nil
		}
		at = m.link
	}
	return nil, 0, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
}

// Close closes the file.
func (t *tarFile) Close() error { return t.f.Close() }
