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
)

// files is a directory tree that an image lies in: a real one, or the members of a tarball.
type files interface {
	// open reads a file by its slash-separated path; a missing one is fs.ErrNotExist.
	open(name string) (io.ReadCloser, int64, error)
	Close() error
}

// folder is a real one.
type folder string

func (f folder) open(name string) (io.ReadCloser, int64, error) {
	file, err := os.Open(filepath.Join(string(f), filepath.FromSlash(name)))
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", file.Name())
	}
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

// member is where a file's content lies in the tar file, or the name of the member
// that it is a link to.
type member struct {
	offset, size int64
	link         string
}

// maxLinks bounds links to links. "docker save" of old wrote a symbolic link for a
// layer that two images share.
const maxLinks = 8

// openTarball reads the headers of a tar file. A compressed one is unpacked first, into
// a file in tmp that is gone when the tarball is closed.
func openTarball(ctx context.Context, file, tmp string) (*tarFile, error) {
	f, err := os.Open(file)
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
		return nil, errors.Join(fmt.Errorf("%s is not a whole tarball: %w", file, err), f.Close())
	}
	return t, nil
}

func closeIf(f *os.File) error {
	if f == nil {
		return nil
	}
	return f.Close()
}

// spool copies r to a file without a name.
func spool(ctx context.Context, r io.Reader, tmp string) (*os.File, error) {
	f, err := os.CreateTemp(tmp, "spool-")
	if err != nil {
		return nil, err
	}
	err = os.Remove(f.Name())
	if err == nil {
		_, err = io.Copy(f, readerWithContext{ctx, r})
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// scan notes where each member lies. The tar reader takes from the file no more than
// the headers and seeks over the rest, so that its position tells.
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

// memberName is a path within an archive in its shortest form.
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

// Close gives up the file.
func (t *tarFile) Close() error { return t.f.Close() }

// readerWithContext stops when its context does.
type readerWithContext struct {
	ctx context.Context
	io.Reader
}

func (r readerWithContext) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
