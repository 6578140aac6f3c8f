package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// registrySource is one reference in a registry.
type registrySource struct {
	full   string // the reference
	ref    name.Reference
	puller *remote.Puller
	retry  policy

	mu   sync.Mutex
	docs map[v1.Hash][]byte // manifests and indexes that came already
}

func (s *Store) openRegistry(r reference) (source, error) {
	puller, err := remote.NewPuller(
		remote.WithAuthFromKeychain(s.keychain),
		remote.WithTransport(s.transport),
		remote.WithUserAgent("stead"),
		// Trying again is up to policy, which knows about interrupted bodies too.
		remote.WithRetryBackoff(remote.Backoff{Steps: 1, Duration: time.Nanosecond}),
		remote.WithRetryPredicate(func(error) bool { return false }),
		remote.WithRetryStatusCodes(),
	)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", r, err)
	}
	ref := r.name
	if r.pin != "" {
		ref = ref.Context().Digest(r.pin)
	}
	return &registrySource{full: r.String(), ref: ref, puller: puller, retry: s.retry, docs: map[v1.Hash][]byte{}}, nil
}

func (s *registrySource) String() string { return s.full }

// Close does nothing: connections are the transport's.
func (s *registrySource) Close() error { return nil }

func (s *registrySource) roots(ctx context.Context) ([]v1.Descriptor, error) {
	d, err := s.manifest(ctx, s.ref)
	if err != nil {
		return nil, err
	}
	if !d.MediaType.IsIndex() && !d.MediaType.IsImage() {
		return nil, fmt.Errorf("image %s is a %s, not a container image", s.full, d.MediaType)
	}
	return []v1.Descriptor{d}, nil
}

// manifest gets what ref means and remembers its content.
func (s *registrySource) manifest(ctx context.Context, ref name.Reference) (v1.Descriptor, error) {
	dog := s.retry.watch(ctx)
	defer dog.stop()
	d, err := s.puller.Get(dog.ctx, ref)
	if err != nil {
		return v1.Descriptor{}, s.failed(dog.error(err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.docs[d.Digest] = d.Manifest
	return d.Descriptor, nil
}

// document is a manifest or an index that came already.
func (s *registrySource) document(h v1.Hash) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	raw, ok := s.docs[h]
	return raw, ok
}

func (s *registrySource) open(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	ref := s.ref.Context().Digest(d.Digest.String())
	raw, ok := s.document(d.Digest)
	if !ok && (d.MediaType.IsIndex() || d.MediaType.IsImage()) {
		if _, err := s.manifest(ctx, ref); err != nil {
			return nil, err
		}
		raw, ok = s.document(d.Digest)
	}
	if ok {
		return io.NopCloser(bytes.NewReader(raw)), nil
	}
	return s.blob(ctx, ref)
}

func (s *registrySource) blob(ctx context.Context, ref name.Digest) (io.ReadCloser, error) {
	dog := s.retry.watch(ctx)
	l, err := s.puller.Layer(dog.ctx, ref)
	if err != nil {
		dog.stop()
		return nil, s.failed(dog.error(err))
	}
	rc, err := l.Compressed()
	if err != nil {
		dog.stop()
		return nil, s.failed(dog.error(err))
	}
	return watched{ReadCloser: rc, watchdog: dog}, nil
}

// failed says which registry it was and what it answered.
func (s *registrySource) failed(err error) error {
	e := &RegistryError{Reference: s.full, Registry: s.ref.Context().RegistryStr(), Err: err}
	if e.Registry == name.DefaultRegistry {
		e.Registry = strings.TrimPrefix(name.DefaultRegistry, "index.")
	}
	var status *transport.Error
	if errors.As(err, &status) {
		e.Status = status.StatusCode
	}
	return e
}
