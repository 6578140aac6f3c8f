package image

import (
	"context"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stead-vm/stead/provider/transfer"
)

// WithFile downloads f as a blob is pulled, resumed and verified, hands it to use, and
// removes it when use has succeeded. The caller sees to it that no other process works on
// f: one that waited would download again what was removed meanwhile.
func (s *Store) WithFile(ctx context.Context, f transfer.File, use func(io.Reader) error, progress transfer.Progress) error {
	src, err := transfer.NewFileSource(f, s.transport, s.retry)
	if err != nil {
		return err
	}
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	path, err := s.download(ctx, f, src, progress.Serial())
	if err != nil {
		return s.explain(err)
	}
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	err = use(transfer.Reader(ctx, in))
	_ = in.Close() // only read from
	if err != nil {
		return err
	}
	return os.Remove(in.Name())
}

// download brings f into the store and returns its path. The server says how large it is,
// unless an earlier call has downloaded it and use has failed.
func (s *Store) download(ctx context.Context, f transfer.File, src *transfer.FileSource, progress transfer.Progress) (path string, err error) {
	h, err := v1.NewHash(f.Digest)
	if err != nil {
		return "", err
	}
	path = s.blobPath(h)
	d := v1.Descriptor{Digest: h}
	if info, err := os.Stat(path); err == nil {
		d.Size = info.Size()
	} else if d, err = src.Descriptor(ctx); err != nil {
		return "", err
	}
	if err := s.checkRoom(f.Name, []v1.Descriptor{d}); err != nil {
		return "", err
	}
	return path, s.copyBlob(ctx, src, d, func(e transfer.Event) {
		e.ID = f.Name
		progress(e)
	})
}
