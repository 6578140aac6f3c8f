package image

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stead-vm/stead/provider/transfer"
)

// published returns a file on a server. The default serve serves its content.
func published(t *testing.T, content string, serve http.HandlerFunc) transfer.File {
	t.Helper()
	if serve == nil {
		serve = serveFile(content)
	}
	srv := httptest.NewServer(serve)
	t.Cleanup(srv.Close)
	return transfer.File{Name: "thing", URL: srv.URL + "/thing", Digest: fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(content)))}
}

func serveFile(content string) http.HandlerFunc {
	return func(w http.ResponseWriter, q *http.Request) {
		http.ServeContent(w, q, "", time.Time{}, strings.NewReader(content))
	}
}

// fetched returns the content that WithFile passes to its use function.
func fetched(t *testing.T, s *Store, f transfer.File, progress transfer.Progress) (string, error) {
	t.Helper()
	var got bytes.Buffer
	err := s.WithFile(t.Context(), f, func(r io.Reader) error {
		_, err := io.Copy(&got, r)
		return err
	}, progress)
	return got.String(), err
}

func TestAFileIsCompleteAndRemovedAfterUse(t *testing.T) {
	content := noise(3 << 20)
	tests := map[string]http.HandlerFunc{
		"by a server that supports ranges":             nil,
		"by a server that does not support ranges":     withoutRanges(content),
		"by a server that refuses HEAD":                without(http.MethodHead, content),
		"by a server that redirects":                   redirected(content),
		"by a server that is too busy at first":        failingFirst(content),
		"by a server that closes the connection early": closingEarly(content),
	}
	for name, serve := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var last transfer.Event
			got, err := fetched(t, newStore(t, dir), published(t, content, serve), func(e transfer.Event) { last = e })
			if err != nil || got != content {
				t.Fatalf("got %d bytes, %v", len(got), err)
			}
			if !last.Done || last.ID != "thing" || last.Current != int64(len(content)) {
				t.Errorf("the last event is %+v", last)
			}
			wantEmpty(t, dir, "partial")
			wantEmpty(t, dir, "blobs/sha256")
		})
	}
}

func without(method, content string) http.HandlerFunc {
	return func(w http.ResponseWriter, q *http.Request) {
		if q.Method == method {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		serveFile(content)(w, q)
	}
}

func withoutRanges(content string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		io.WriteString(w, content)
	}
}

func redirected(content string) http.HandlerFunc {
	return func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/thing" {
			http.Redirect(w, q, "/elsewhere?signature=secret", http.StatusFound)
			return
		}
		serveFile(content)(w, q)
	}
}

func failingFirst(content string) http.HandlerFunc {
	first := true
	return func(w http.ResponseWriter, q *http.Request) {
		if first {
			first = false
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		serveFile(content)(w, q)
	}
}

// closingEarly once serves only half of the content.
func closingEarly(content string) http.HandlerFunc {
	first := true
	return func(w http.ResponseWriter, q *http.Request) {
		if first && q.Header.Get("Range") == "" {
			first = false
			w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			io.WriteString(w, content[:len(content)/2])
			return
		}
		serveFile(content)(w, q)
	}
}

func TestAnInterruptedDownloadResumes(t *testing.T) {
	content := noise(300_000)
	ranges := make(chan string, 10)
	f := published(t, content, func(w http.ResponseWriter, q *http.Request) {
		ranges <- q.Header.Get("Range")
		serveFile(content)(w, q)
	})
	dir := t.TempDir()
	s := newStore(t, dir)
	part := filepath.Join(dir, "partial", strings.TrimPrefix(f.Digest, "sha256:"))
	if err := os.WriteFile(part, []byte(content[:100_000]), 0o600); err != nil { // as a killed process leaves it
		t.Fatal(err)
	}
	if got, err := fetched(t, s, f, nil); err != nil || got != content {
		t.Fatalf("got %d bytes, %v", len(got), err)
	}
	if asked := []string{<-ranges, <-ranges}; asked[1] != "bytes=100000-" {
		t.Errorf("asked for %q", asked)
	}
}

func TestAFileIsNotDownloadedAgainAfterAFailedUse(t *testing.T) {
	content := noise(1000)
	f := published(t, content, nil)
	s := newStore(t, t.TempDir())
	unhappy := errors.New("no room")
	if err := s.WithFile(t.Context(), f, func(io.Reader) error { return unhappy }, nil); !errors.Is(err, unhappy) {
		t.Fatalf("got %v", err)
	}
	f.URL = "http://127.0.0.1:1/"
	if got, err := fetched(t, s, f, nil); err != nil || got != content {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

func TestAFailedDownloadSaysWhyAndLeavesNoFile(t *testing.T) {
	tests := map[string]struct {
		serve http.HandlerFunc
		says  []string
		as    func(error) bool
	}{
		"a missing file": {http.NotFound, []string{"/thing (404)"}, isDownload(404)},
		"another file": {serveFile("tampered with"), []string{
			fmt.Sprintf("%x", sha256.Sum256([]byte("good"))), fmt.Sprintf("has the digest sha256:%x", sha256.Sum256([]byte("tampered with"))),
		}, func(err error) bool { var e *transfer.BlobError; return errors.As(err, &e) }},
		"endless": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-0/99999999999999")
			w.WriteHeader(http.StatusPartialContent)
		}, []string{"a size of 99999999999999 bytes"}, isDownload(0)},
		"without a size": {func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			io.WriteString(w, "good")
		}, []string{"a size of -1 bytes"}, isDownload(0)},
		"a redirect into the local network": {func(w http.ResponseWriter, q *http.Request) {
			http.Redirect(w, q, "http://169.254.169.254/?signature=secret", http.StatusFound)
		}, []string{"an address in a local network"}, isDownload(0)},
		"shorter than announced": {func(w http.ResponseWriter, q *http.Request) {
			if q.Header.Get("Range") != "" {
				w.Header().Set("Content-Range", "bytes 0-0/10")
				w.WriteHeader(http.StatusPartialContent)
			}
			io.WriteString(w, "good")
		}, []string{"truncated: 4 bytes of 10"}, func(err error) bool { var e *transfer.BlobError; return errors.As(err, &e) }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			_, err := fetched(t, newStore(t, dir), published(t, "good", tt.serve), nil)
			if err == nil || !tt.as(err) || strings.Contains(err.Error(), "secret") {
				t.Fatalf("got %v", err)
			}
			wantError(t, err, "retry", tt.says...)
			wantEmpty(t, dir, "partial")
			wantEmpty(t, dir, "blobs/sha256")
		})
	}
	t.Run("no answer", func(t *testing.T) {
		f := published(t, "good", nil)
		f.URL = "http://127.0.0.1:1/thing"
		_, err := fetched(t, newStore(t, t.TempDir()), f, nil)
		if !isDownload(0)(err) || !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("got %v", err)
		}
		wantError(t, err, "retry", "cannot download http://127.0.0.1:1/thing: ")
	})
}

func isDownload(status int) func(error) bool {
	return func(err error) bool {
		var e *transfer.DownloadError
		return errors.As(err, &e) && e.Status == status && e.Remedy() != ""
	}
}
