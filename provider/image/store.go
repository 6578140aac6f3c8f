package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/renameio/v2"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/stead-vm/stead/provider/durable"
	"github.com/stead-vm/stead/provider/filelock"
	"github.com/stead-vm/stead/provider/platform"
	"github.com/stead-vm/stead/provider/transfer"
)

// importedAnnotation marks, in the store's index.json, an image that was imported from a
// file under a name of the user's choice. Registries are not asked about such a name.
const importedAnnotation = "com.github.stead-vm.imported"

func (s *Store) tmpDir() string   { return filepath.Join(s.dir, "tmp") }
func (s *Store) disksDir() string { return filepath.Join(s.dir, "disks") }
func (s *Store) locksDir() string { return filepath.Join(s.dir, "locks") }

func (s *Store) partialDir() string { return filepath.Join(s.dir, "partial") }

// partPath is where a blob is received; its lock is held.
func (s *Store) partPath(h v1.Hash) string { return filepath.Join(s.partialDir(), h.Hex) }

func (s *Store) blobPath(h v1.Hash) string {
	return filepath.Join(s.dir, ocispec.ImageBlobsDir, h.Algorithm, h.Hex)
}

// init creates the directories and files that a layout must have.
func (s *Store) init() error {
	for _, d := range []string{
		s.tmpDir(), s.partialDir(), s.disksDir(), s.locksDir(),
		filepath.Join(s.dir, ocispec.ImageBlobsDir, "sha256"),
		filepath.Join(s.dir, ocispec.ImageBlobsDir, "sha512"),
	} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return s.explain(fmt.Errorf("image store: %w", err))
		}
	}
	file := filepath.Join(s.dir, ocispec.ImageLayoutFile)
	if _, err := os.Stat(file); err == nil {
		return nil
	}
	raw, err := json.Marshal(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	if err == nil {
		err = renameio.WriteFile(file, raw, 0o600)
	}
	if err != nil {
		return s.explain(fmt.Errorf("image store: %w", err))
	}
	return nil
}

// storeLock keeps those who use the store from those who remove files of it.
func (s *Store) storeLock() filelock.File {
	return filelock.File{Path: filepath.Join(s.dir, "store.lock"), Log: s.log}
}

// enter takes the store's lock shared, which keeps others from removing files until leave
// is called. If no other process holds the lock, it first removes what killed processes
// have left.
func (s *Store) enter(ctx context.Context) (leave func(), err error) {
	l := s.storeLock()
	if unlock, alone := l.TryLock(); alone {
		s.clearTmp()
		unlock()
	}
	leave, err = l.RLock(ctx, "removes images")
	if err != nil {
		return nil, s.explain(waitError(l, err))
	}
	return leave, nil
}

// Hold prevents the removal of images and disks until release is called. A caller that is
// about to use one holds the store until its use is visible to others.
func (s *Store) Hold(ctx context.Context) (release func(), err error) { return s.enter(ctx) }

// enterAlone takes the store's lock exclusively: it waits until no one else holds it.
func (s *Store) enterAlone(ctx context.Context) (leave func(), err error) {
	l := s.storeLock()
	leave, err = l.Lock(ctx, "is using the image store")
	if err != nil {
		return nil, waitError(l, err)
	}
	return leave, nil
}

// lock takes the exclusive lock of this name. doing says what its holders do: "downloads
// 5d20f1e3f0a5". The caller has entered the store.
func (s *Store) lock(ctx context.Context, name, doing string) (unlock func(), err error) {
	l := filelock.File{Path: filepath.Join(s.locksDir(), name), Log: s.log}
	unlock, err = l.Lock(ctx, doing)
	if err != nil {
		return nil, waitError(l, err)
	}
	return unlock, nil
}

// waitError returns the error of a failed wait for l.
func waitError(l filelock.File, err error) error {
	return fmt.Errorf("image store: waiting for %s: %w", l.Path, err)
}

func (s *Store) clearTmp() {
	left, err := os.ReadDir(s.tmpDir())
	for _, e := range left {
		err = errors.Join(err, os.RemoveAll(filepath.Join(s.tmpDir(), e.Name())))
	}
	if err != nil {
		s.log.Warn("image store: cannot remove temporary files", "err", err)
	}
}

// has reports whether the store has the blob. Blobs are verified before they get their name.
func (s *Store) has(d v1.Descriptor) bool {
	info, err := os.Stat(s.blobPath(d.Digest))
	return err == nil && info.Mode().IsRegular() && info.Size() == d.Size
}

// IndexFile returns the path of the file that is replaced whenever a name in the store
// refers to another image.
func (s *Store) IndexFile() string { return filepath.Join(s.dir, ocispec.ImageIndexFile) }

// index reads index.json; a store without one is empty.
func (s *Store) index() (v1.IndexManifest, error) {
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{}}
	err := readJSON(folder(s.dir), ocispec.ImageIndexFile, &index)
	if errors.Is(err, fs.ErrNotExist) {
		return index, nil
	}
	if err != nil {
		return index, fmt.Errorf("image store %s: %w", s.dir, err)
	}
	return index, nil
}

// change updates index.json under its lock.
func (s *Store) change(ctx context.Context, f func([]v1.Descriptor) []v1.Descriptor) error {
	unlock, err := s.lock(ctx, "index", "changes the names of images")
	if err != nil {
		return err
	}
	defer unlock()
	index, err := s.index()
	if err != nil {
		return err
	}
	index.Manifests = f(index.Manifests)
	raw, err := json.MarshalIndent(index, "", "  ")
	if err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(s.dir, ocispec.ImageIndexFile), raw, renameio.WithTempDir(s.tmpDir())); err != nil {
		return fmt.Errorf("image store: %w", err)
	}
	return nil
}

// record adds the image d to the index, in place of the one that had the name.
func (s *Store) record(ctx context.Context, d v1.Descriptor, name string, p platform.Platform, imported bool) error {
	entry := v1.Descriptor{
		MediaType: d.MediaType, Digest: d.Digest, Size: d.Size,
		Platform:    descriptorOf(p),
		Annotations: map[string]string{ocispec.AnnotationRefName: name},
	}
	if imported {
		entry.Annotations[importedAnnotation] = "true"
	}
	return s.change(ctx, func(ds []v1.Descriptor) []v1.Descriptor {
		ds = slices.DeleteFunc(ds, func(d v1.Descriptor) bool {
			return hasTag(d, name) && (imported || describedPlatform(d) == p.Normal())
		})
		return append(ds, entry)
	})
}

// storeSource is the store as a source.
type storeSource struct{ s *Store }

func (st storeSource) String() string { return "the store " + st.s.dir }

// Close does nothing.
func (st storeSource) Close() error { return nil }

func (st storeSource) roots(context.Context) ([]v1.Descriptor, error) {
	index, err := st.s.index()
	return index.Manifests, err
}

func (st storeSource) Open(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	f, err := os.Open(st.s.blobPath(d.Digest))
	if err != nil {
		return nil, &transfer.BlobError{
			Digest: d.Digest.String(), Source: st.String(), Err: err,
			Hint: "pull or import the image again",
		}
	}
	return f, nil
}
