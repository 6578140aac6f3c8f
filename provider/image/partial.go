package image

import (
	"context"
	"errors"
	"hash"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// resumer is a source that can start in the middle of a blob.
type resumer interface {
	source
	// openFrom opens what d describes from offset on, or from the beginning if the other
	// side does not support that. at is the offset of the first byte.
	openFrom(ctx context.Context, d v1.Descriptor, offset int64) (rc io.ReadCloser, at int64, err error)
}

func (s *Store) partialDir() string { return filepath.Join(s.dir, "partial") }

// partial is a blob that is being downloaded. Its file keeps the received bytes however
// the process ends. They need no sync: they are trusted only when the blob is complete and
// has the right digest.
type partial struct {
	want v1.Descriptor
	file *os.File
	hash hash.Hash
	size int64 // bytes in file and hash
}

// openPartial opens what an earlier call has left of the blob. The caller holds the blob's
// lock.
func (s *Store) openPartial(ctx context.Context, d v1.Descriptor) (*partial, error) {
	h, err := v1.Hasher(d.Digest.Algorithm)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(s.partialDir(), d.Digest.Hex), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	p := &partial{want: d, file: f, hash: h}
	if p.size, err = io.Copy(h, readerWithContext{ctx, f}); err == nil && p.size > d.Size {
		err = p.reset()
	}
	if err != nil {
		return nil, errors.Join(err, p.leave())
	}
	return p, nil
}

// Write appends to the file.
func (p *partial) Write(b []byte) (int, error) {
	n, err := p.file.Write(b)
	p.hash.Write(b[:n])
	p.size += int64(n)
	return n, err
}

// reset truncates the file.
func (p *partial) reset() error {
	p.hash.Reset()
	p.size = 0
	_, err := p.file.Seek(0, io.SeekStart)
	return errors.Join(err, p.file.Truncate(0))
}

// leave closes the file and keeps it for a later call, unless it is empty.
func (p *partial) leave() error {
	if info, err := p.file.Stat(); err == nil && info.Size() == 0 {
		return p.discard()
	}
	return p.file.Close()
}

// discard closes and removes the file.
func (p *partial) discard() error {
	return errors.Join(p.file.Close(), os.Remove(p.file.Name()))
}

// finish syncs the complete blob and renames it to path.
func (p *partial) finish(path string) error {
	err := errors.Join(p.file.Sync(), p.file.Close())
	if err == nil {
		err = os.Rename(p.file.Name(), path)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(p.file.Name()))
	}
	return err
}

// receive copies the blob that d describes into the store. If src stops early, receive
// keeps the received part for a source that can resume. It does not keep wrong content.
func (s *Store) receive(ctx context.Context, src source, d v1.Descriptor, m *meter) error {
	p, err := s.openPartial(ctx, d)
	if err != nil {
		return &BlobError{Digest: d.Digest.String(), Source: src.String(), Err: err}
	}
	for {
		begun, err := p.fill(ctx, src, m)
		_, resumes := src.(resumer)
		if err != nil && resumes && !noSpace(err) {
			return errors.Join(err, p.leave())
		}
		if err == nil {
			err = verify(d, p.size, p.hash, src)
		}
		switch {
		case err == nil:
			return p.finish(s.blobPath(d.Digest))
		case noSpace(err) || begun == 0:
			return errors.Join(err, p.discard())
		}
		// The part that an earlier call has kept may be wrong: start again, once. The next
		// call of fill begins at 0.
		if err := p.reset(); err != nil {
			return errors.Join(err, p.discard())
		}
	}
}

// fill appends the rest of the blob, at most one byte too many. It returns the size that
// the file had before.
func (p *partial) fill(ctx context.Context, src source, m *meter) (begun int64, err error) {
	if p.size == p.want.Size {
		return p.size, nil
	}
	rc, at, err := openFrom(ctx, src, p.want, p.size)
	if err != nil {
		return p.size, err
	}
	defer rc.Close() // only read from
	if at != p.size {
		if err := p.reset(); err != nil {
			return 0, err
		}
	}
	begun = p.size
	m.Current, m.reported = begun, begun
	_, err = io.Copy(p, io.LimitReader(metered{readerWithContext{ctx, rc}, m}, p.want.Size-p.size+1))
	if err != nil {
		e := &BlobError{Digest: p.want.Digest.String(), Source: src.String(), Err: err}
		if _, ok := src.(resumer); ok {
			e.Hint = "retry; the download resumes where it stopped"
		}
		return begun, e
	}
	return begun, nil
}

// openFrom is [resumer.openFrom] for any source; one that cannot resume starts at 0.
func openFrom(ctx context.Context, src source, d v1.Descriptor, offset int64) (io.ReadCloser, int64, error) {
	if r, ok := src.(resumer); ok {
		return r.openFrom(ctx, d, offset)
	}
	rc, err := src.open(ctx, d)
	return rc, 0, err
}
