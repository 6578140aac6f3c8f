package image

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/stead-vm/stead/provider/transfer"
)

// registrySource is one reference in a registry.
type registrySource struct {
	full     string // the reference
	ref      name.Reference
	keychain authn.Keychain
	guard    *transfer.Guard
	plain    http.RoundTripper // guard without credentials
	retry    transfer.Policy

	connecting sync.Mutex
	connected  http.RoundTripper // nil before the first success
	unknown    *CredentialError  // why there are no credentials; nil if there is no such reason

	mu   sync.Mutex
	docs map[v1.Hash][]byte // downloaded manifests and indexes
}

func (s *Store) openRegistry(r reference) (source, error) {
	ref := r.name
	if r.pin != "" {
		ref = ref.Context().Digest(r.pin)
	}
	guard := transfer.NewGuard(s.transport)
	return &registrySource{
		full: r.String(), ref: ref, retry: s.retry, docs: map[v1.Hash][]byte{},
		keychain: s.keychain, guard: guard, plain: transport.NewUserAgent(guard, "stead"),
	}, nil
}

func (s *registrySource) String() string { return s.full }

// Close closes idle connections.
func (s *registrySource) Close() error {
	s.guard.CloseIdleConnections()
	return nil
}

// connect authenticates to the registry, once for all requests. The result sends
// credentials there and nowhere else. It does not retry: that is up to policy, which also
// handles interrupted bodies.
func (s *registrySource) connect(ctx context.Context) (http.RoundTripper, error) {
	s.connecting.Lock()
	defer s.connecting.Unlock()
	if s.connected != nil {
		return s.connected, nil
	}
	repo := s.ref.Context()
	auth, err := authn.Resolve(ctx, s.keychain, repo)
	if errors.As(err, &s.unknown) { // the registry may need none
		auth, err = authn.Anonymous, nil
	}
	if err != nil {
		return nil, err
	}
	rt, err := transport.NewWithContext(ctx, repo.Registry, auth, s.plain, []string{repo.Scope(transport.PullScope)})
	if err != nil {
		return nil, err
	}
	s.connected = rt
	return rt, nil
}

func (s *registrySource) roots(ctx context.Context) ([]v1.Descriptor, error) {
	d, err := s.manifest(ctx, s.ref)
	if err != nil {
		return nil, err
	}
	if !d.MediaType.IsIndex() && !d.MediaType.IsImage() {
		return nil, &NotImageError{Reference: s.full, What: notManifest(d.MediaType)}
	}
	return []v1.Descriptor{d}, nil
}

// manifest gets the descriptor of ref and keeps the content.
func (s *registrySource) manifest(ctx context.Context, ref name.Reference) (v1.Descriptor, error) {
	dog := s.retry.Watch(ctx)
	defer dog.Stop()
	rt, err := s.connect(dog.Context())
	if err != nil {
		return v1.Descriptor{}, s.failed(dog.Explain(err))
	}
	d, err := remote.Get(ref, remote.WithContext(dog.Context()), remote.WithTransport(rt))
	if err != nil {
		return v1.Descriptor{}, s.failed(dog.Explain(err))
	}
	if len(d.Manifest) > maxDocument {
		return v1.Descriptor{}, s.failed(tooLarge(int64(len(d.Manifest))))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.docs[d.Digest] = d.Manifest
	return d.Descriptor, nil
}

// document returns a manifest or an index that was downloaded before.
func (s *registrySource) document(h v1.Hash) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	raw, ok := s.docs[h]
	return raw, ok
}

func (s *registrySource) Open(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	rc, _, err := s.OpenFrom(ctx, d, 0)
	return rc, err
}

func (s *registrySource) OpenFrom(ctx context.Context, d v1.Descriptor, offset int64) (io.ReadCloser, int64, error) {
	raw, ok := s.document(d.Digest)
	if !ok && (d.MediaType.IsIndex() || d.MediaType.IsImage()) {
		if _, err := s.manifest(ctx, s.ref.Context().Digest(d.Digest.String())); err != nil {
			return nil, 0, err
		}
		raw, ok = s.document(d.Digest)
	}
	if ok {
		return io.NopCloser(bytes.NewReader(raw)), 0, nil
	}
	dog := s.retry.Watch(ctx)
	rc, at, err := s.blob(dog.Context(), d.Digest, offset)
	if err != nil {
		dog.Stop()
		return nil, 0, s.failed(dog.Explain(err))
	}
	return dog.Reader(rc), at, nil
}

// failed returns a *[RegistryError] with the registry and its answer.
func (s *registrySource) failed(err error) error {
	e := &RegistryError{Reference: s.full, Registry: s.ref.Context().RegistryStr(), Err: err}
	if e.Registry == name.DefaultRegistry {
		e.Registry = strings.TrimPrefix(name.DefaultRegistry, "index.")
	}
	var status *transport.Error
	if errors.As(err, &status) {
		e.Status = status.StatusCode
	}
	if e.denied() {
		s.connecting.Lock()
		defer s.connecting.Unlock()
		e.Credentials = s.unknown
	}
	return e
}
