package image

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
)

func TestCredentialsGoOnlyToTheRegistry(t *testing.T) {
	r, ref, _, layer, size := bigBlob(t)
	var leaked atomic.Value
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		leaked.Store(q.Header.Get("Authorization"))
		// The registry itself, under its other name.
		direct, _ := http.NewRequestWithContext(q.Context(), http.MethodGet, "http://"+r.host+q.URL.Path+"?direct", nil)
		direct.Header = q.Header.Clone()
		res, err := http.DefaultClient.Do(direct)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer res.Body.Close()
		w.Header().Set("Content-Range", res.Header.Get("Content-Range"))
		w.WriteHeader(res.StatusCode)
		buf := new(bytes.Buffer)
		_, _ = buf.ReadFrom(res.Body)
		_, _ = w.Write(buf.Bytes())
	}))
	defer behind.Close()
	elsewhere := strings.Replace(behind.URL, "127.0.0.1", "localhost", 1)
	dir := t.TempDir()
	interrupted(t, r, dir, ref, layer, 100_000)

	want := "Basic " + base64.StdEncoding.EncodeToString([]byte("me:secret"))
	r.misbehave(func(w http.ResponseWriter, q *http.Request) bool {
		switch {
		case q.URL.RawQuery == "direct":
			return false
		case q.Header.Get("Authorization") != want:
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(http.StatusUnauthorized)
			return true
		case strings.HasSuffix(q.URL.Path, layer.String()):
			http.Redirect(w, q, elsewhere+q.URL.Path, http.StatusTemporaryRedirect)
			return true
		}
		return false
	})
	s := newStore(t, dir)
	s.keychain = oneLogin{authn.FromConfig(authn.AuthConfig{Username: "me", Password: "secret"})}
	if _, err := s.Pull(t.Context(), ref, amd64, nil); err != nil {
		t.Fatal(err)
	}
	if got := leaked.Load(); got != "" {
		t.Errorf("another host got the credentials %q", got)
	}
	if n := r.bytesServed(layer); n != size-100_000 {
		t.Errorf("%d bytes were fetched after the redirect, want %d", n, size-100_000)
	}
}

type oneLogin struct{ authn.Authenticator }

func (l oneLogin) Resolve(authn.Resource) (authn.Authenticator, error) { return l.Authenticator, nil }

func TestRedirectsIntoTheLocalNetworkAreRejected(t *testing.T) {
	r, ref, _, layer, _ := bigBlob(t)
	r.misbehave(func(w http.ResponseWriter, q *http.Request) bool {
		if !strings.HasSuffix(q.URL.Path, layer.String()) {
			return false
		}
		http.Redirect(w, q, "http://10.0.0.1/secret?signature=abc", http.StatusFound)
		return true
	})
	_, err := newStore(t, t.TempDir()).Pull(t.Context(), ref, amd64, nil)
	wantError(t, err, "", "redirects to 10.0.0.1")
	if strings.Contains(err.Error(), "signature") {
		t.Errorf("the error contains the target of the redirect: %v", err)
	}
}
