package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/renameio/v2"

	"github.com/stead-vm/stead/provider/durable"
	"github.com/stead-vm/stead/provider/transfer"
)

// Disk returns the path of a disk of size bytes with the files of img. It creates the disk
// if it is missing; concurrent callers share one conversion. The disk must not be written
// to: machines get clones. img must have been pulled or imported.
func (s *Store) Disk(ctx context.Context, img Image, size int64, progress transfer.Progress) (string, error) {
	h, err := v1.NewHash(img.Digest)
	if err != nil {
		return "", fmt.Errorf("image %s: %w", img.Reference, err)
	}
	if s.makeDisk == nil {
		return "", errors.New("image: Options.MakeDisk is required to create a disk")
	}
	leave, err := s.enter(ctx)
	if err != nil {
		return "", err
	}
	defer leave()

	name := diskName(h, s.diskFormat, size)
	unlock, err := s.lock(ctx, name, "makes the disk of "+img.Reference)
	if err != nil {
		return "", err
	}
	defer unlock()
	path := filepath.Join(s.disksDir(), name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	f, err := s.loadStored(ctx, img.Reference, h, img.Platform)
	if err != nil {
		return "", err
	}
	if err := s.convert(ctx, f, path, size, progress.Serial()); err != nil {
		return "", s.explain(fmt.Errorf("disk of image %s: %w", img.Reference, err))
	}
	return path, nil
}

// diskName begins with the digest and the format, by which disks are looked up and freed.
func diskName(h v1.Hash, format int, size int64) string {
	return fmt.Sprintf("%s%d.ext4", diskPrefix(h, format), size)
}

func diskPrefix(h v1.Hash, format int) string { return fmt.Sprintf("%s-v%d-", h.Hex, format) }

// convert writes a disk to a temporary file. It renames the file to path when the disk is
// complete and every layer has the digest that the image's config says.
func (s *Store) convert(ctx context.Context, f sourceImage, path string, size int64, progress transfer.Progress) error {
	meter := &transfer.Meter{Event: transfer.Event{ID: "disk", Action: transfer.ActionDisk, Total: f.Size}, Report: progress}
	layers := make([]Layer, len(f.manifest.Layers))
	checks := make([]*check, len(layers))
	for i, d := range f.manifest.Layers {
		checks[i] = &check{store: s, blob: d, want: f.config.RootFS.DiffIDs[i], meter: meter}
	}
	out, err := renameio.NewPendingFile(path,
		renameio.WithTempDir(s.tmpDir()), renameio.WithStaticPermissions(0o600))
	if err != nil {
		return err
	}
	defer s.discard(out)
	u := newUnpacker(ctx, checks, s.tmpDir())
	for i, d := range f.manifest.Layers {
		layers[i] = Layer{Name: d.Digest.String(), Open: func() (io.ReadCloser, error) { return u.open(i) }}
	}
	err = s.makeDisk(ctx, out.File, layers, size, f.Digest)
	u.close() // frees the spill file before the disk is synced
	for _, k := range checks {
		// A bad layer is the cause of any error of the writer.
		if bad := k.result(err == nil); bad != nil {
			return bad
		}
	}
	if err != nil {
		return err
	}
	if err := out.CloseAtomicallyReplace(); err != nil {
		return err
	}
	meter.Finish()
	return durable.SyncDir(s.disksDir())
}

// discard removes f unless it was renamed to its final name.
func (s *Store) discard(f *renameio.PendingFile) {
	if err := f.Cleanup(); err != nil {
		s.log.Warn("image: cannot remove a temporary file", "err", err)
	}
}

// check verifies one layer while it is read, once or several times.
type check struct {
	store *Store
	blob  v1.Descriptor
	want  v1.Hash // of the uncompressed layer
	meter *transfer.Meter

	mu       sync.Mutex
	counted  bool
	verified bool
	err      error
}

// file opens the blob.
func (k *check) file() (*os.File, error) {
	f, err := os.Open(k.store.blobPath(k.blob.Digest))
	if err != nil {
		return nil, &NotFoundError{
			Reference: "blob " + k.blob.Digest.String(), Where: "the store",
			Hint: "pull or import the image again", Err: err,
		}
	}
	return f, nil
}

// metered returns a reader of f, the blob. Only the first reading counts as progress.
func (k *check) metered(f *os.File) io.Reader {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.counted {
		return f
	}
	k.counted = true
	return k.meter.Reader(f)
}

// fail records err if it is the first failure, and returns it.
func (k *check) fail(err error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err == nil {
		k.err = err
	}
	return err
}

// result returns the layer's error. If the writer is done, it must have read the layer to
// its end.
func (k *check) result(done bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err == nil && done && !k.verified {
		return fmt.Errorf("layer %s was not read to its end", k.blob.Digest)
	}
	return k.err
}

// damageError returns the error for a bad layer: the fault is the image's, or the store's if
// the blob has changed on disk. It removes such a blob, so that the next pull downloads it
// again.
func (k *check) damageError(cause error) error {
	e := &transfer.BlobError{Digest: k.blob.Digest.String(), Source: "the image", Err: cause}
	if k.store.intact(k.blob) {
		return e
	}
	e.Source, e.Hint = "the store", "pull or import the image again; the damaged blob was removed from the store"
	if err := os.Remove(k.store.blobPath(k.blob.Digest)); err != nil {
		e.Hint = fmt.Sprintf("remove the image with \"stead image rm\" and pull it again; cannot remove the damaged blob: %v", err)
	}
	return e
}

// intact reports whether the blob on disk has its digest. It reads the whole blob.
func (s *Store) intact(d v1.Descriptor) bool {
	f, err := os.Open(s.blobPath(d.Digest))
	if err != nil {
		return false
	}
	defer f.Close() // only read from
	return copyVerified(io.Discard, f, d, storeSource{s}) == nil
}
