package image

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// fakeRegistry is a real registry in memory that can be made to misbehave.
type fakeRegistry struct {
	host string

	mu        sync.Mutex
	requests  []string         // "GET /v2/…"
	served    map[string]int64 // bytes of blobs, by digest
	cut       map[string]int64 // by digest: bytes after which a connection ends
	atCut     func()           // called before a connection ends; may be nil
	rangeless bool             // do not support ranges
	// intercept reports whether it has answered a request itself.
	intercept func(http.ResponseWriter, *http.Request) bool
}

func newRegistry(t *testing.T) *fakeRegistry {
	t.Helper()
	r := &fakeRegistry{served: map[string]int64{}, cut: map[string]int64{}}
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.mu.Lock()
		r.requests = append(r.requests, q.Method+" "+q.URL.Path)
		f, rangeless := r.intercept, r.rangeless
		r.mu.Unlock()
		if f != nil && f(w, q) {
			return
		}
		if q.Method != http.MethodGet || !strings.Contains(q.URL.Path, "/blobs/sha256:") {
			inner.ServeHTTP(w, q)
			return
		}
		w = &countedWriter{ResponseWriter: w, registry: r, digest: path.Base(q.URL.Path)}
		if rangeless {
			inner.ServeHTTP(w, q)
			return
		}
		serveRange(w, q, inner)
	}))
	t.Cleanup(srv.Close)
	r.host = strings.TrimPrefix(srv.URL, "http://")
	return r
}

// serveRange serves a part of inner's answer.
func serveRange(w http.ResponseWriter, q *http.Request, inner http.Handler) {
	whole := q.Clone(q.Context())
	whole.Header.Del("Range")
	all := httptest.NewRecorder()
	inner.ServeHTTP(all, whole)
	http.ServeContent(w, q, "", time.Time{}, bytes.NewReader(all.Body.Bytes()))
}

// countedWriter counts the bytes served of a blob and ends the connection as configured.
type countedWriter struct {
	http.ResponseWriter
	registry *fakeRegistry
	digest   string
	failed   bool
	written  int64
}

func (w *countedWriter) WriteHeader(status int) {
	w.failed = status >= http.StatusBadRequest
	w.ResponseWriter.WriteHeader(status)
}

func (w *countedWriter) Write(b []byte) (int, error) {
	if w.failed {
		return w.ResponseWriter.Write(b) // an error's text
	}
	w.registry.mu.Lock()
	limit, cut := w.registry.cut[w.digest]
	if cut = cut && w.written+int64(len(b)) > limit; cut {
		b = b[:limit-w.written]
	}
	w.written += int64(len(b))
	w.registry.served[w.digest] += int64(len(b))
	atCut := w.registry.atCut
	w.registry.mu.Unlock()
	n, err := w.ResponseWriter.Write(b)
	if cut {
		w.ResponseWriter.(http.Flusher).Flush()
		if atCut != nil {
			atCut()
		}
		panic(http.ErrAbortHandler)
	}
	return n, err
}

// cutAfter ends each connection for the blob after n bytes, or not if n is negative. It
// calls atCut before, which may be nil.
func (r *fakeRegistry) cutAfter(h v1.Hash, n int64, atCut func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut[h.String()], r.atCut = n, atCut
	if n < 0 {
		delete(r.cut, h.String())
	}
}

// bytesServed returns the number of bytes of the blob served since the last call.
func (r *fakeRegistry) bytesServed(h v1.Hash) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.served[h.String()]
	delete(r.served, h.String())
	return n
}

// refuseRanges disables support for ranges.
func (r *fakeRegistry) refuseRanges(refuse bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rangeless = refuse
}

func (r *fakeRegistry) misbehave(f func(http.ResponseWriter, *http.Request) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.intercept = f
}

// asked counts all requests so far for a path with this suffix.
func (r *fakeRegistry) asked(method, suffix string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, q := range r.requests {
		if strings.HasPrefix(q, method+" ") && strings.HasSuffix(q, suffix) {
			n++
		}
	}
	return n
}

func (r *fakeRegistry) push(t *testing.T, repoTag string, img remote.Taggable) string {
	t.Helper()
	ref, err := name.ParseReference(r.host + "/" + repoTag)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Push(ref, img); err != nil {
		t.Fatal(err)
	}
	return r.host + "/" + repoTag
}
