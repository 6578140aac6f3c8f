package transfer

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stead-vm/stead/provider/space"
)

// Source is where a blob comes from.
type Source interface {
	String() string // for messages
	// Open reads what d describes from its beginning.
	Open(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error)
}

// Resumer is a [Source] that can begin in the middle of a blob.
type Resumer interface {
	Source
	// OpenFrom opens what d describes from offset on, or from the beginning if the other
	// side does not support that. at is the offset of the first byte.
	OpenFrom(ctx context.Context, d v1.Descriptor, offset int64) (rc io.ReadCloser, at int64, err error)
}

// partial is a blob that is being downloaded. Its file keeps the received bytes however
// the process ends. They need no sync: they are trusted only when the blob is complete and
// has the right digest.
type partial struct {
	want v1.Descriptor
	file *os.File
	hash hash.Hash
	size int64 // bytes in file and hash
}

// openPartial continues what an earlier call left of the blob at path.
func openPartial(ctx context.Context, path string, d v1.Descriptor) (*partial, error) {
	h, err := v1.Hasher(d.Digest.Algorithm)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	p := &partial{want: d, file: f, hash: h}
	if p.size, err = io.Copy(h, Reader(ctx, f)); err == nil && p.size > d.Size {
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

// Receive copies the blob that d describes to path, by way of the file part. If src stops
// early, Receive keeps the received part for a source that can resume. It does not keep
// wrong content. The caller keeps other processes from receiving the same blob.
func Receive(ctx context.Context, src Source, d v1.Descriptor, part, path string, m *Meter) error {
	p, err := openPartial(ctx, part, d)
	if err != nil {
		return &BlobError{Digest: d.Digest.String(), Source: src.String(), Err: err}
	}
	for {
		begun, err := p.fill(ctx, src, m)
		_, resumes := src.(Resumer)
		if err != nil && resumes && !space.IsFull(err) {
			return errors.Join(err, p.leave())
		}
		if err == nil {
			err = Verify(d, p.size, p.hash, src)
		}
		switch {
		case err == nil:
			return p.finish(path)
		case space.IsFull(err) || begun == 0:
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
func (p *partial) fill(ctx context.Context, src Source, m *Meter) (begun int64, err error) {
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
	m.begin(begun)
	_, err = io.Copy(p, io.LimitReader(m.Reader(Reader(ctx, rc)), p.want.Size-p.size+1))
	if err != nil {
		e := &BlobError{Digest: p.want.Digest.String(), Source: src.String(), Err: err}
		if _, ok := src.(Resumer); ok {
			e.Hint = "retry; the download resumes where it stopped"
		}
		return begun, e
	}
	return begun, nil
}

// openFrom opens any source: one that cannot resume begins at 0.
func openFrom(ctx context.Context, src Source, d v1.Descriptor, offset int64) (io.ReadCloser, int64, error) {
	if r, ok := src.(Resumer); ok {
		return r.OpenFrom(ctx, d, offset)
	}
	rc, err := src.Open(ctx, d)
	return rc, 0, err
}

// Verify compares n bytes, hashed by h, with what d describes.
func Verify(d v1.Descriptor, n int64, h hash.Hash, src Source) error {
	var why error
	got := fmt.Sprintf("%x", h.Sum(nil))
	switch {
	case n < d.Size:
		why = fmt.Errorf("truncated: %d bytes of %d", n, d.Size)
	case n > d.Size:
		why = fmt.Errorf("longer than the expected %d bytes", d.Size)
	case got != d.Digest.Hex:
		why = fmt.Errorf("the content has the digest %s:%s", d.Digest.Algorithm, got)
	default:
		return nil
	}
	return &BlobError{Digest: d.Digest.String(), Source: src.String(), Err: why}
}
