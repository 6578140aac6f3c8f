package image

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// otherHost answers what it is redirected to with what the registry has, and keeps the credentials
// that it gets.
type otherHost struct {
	*httptest.Server
	mu   sync.Mutex
	got  []string
	asks int
}

func newOtherHost(t *testing.T, r *fakeRegistry) *otherHost {
	t.Helper()
	o := &otherHost{}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		o.mu.Lock()
		o.asks++
		for _, name := range []string{"Authorization", "Cookie"} {
			if v := q.Header.Get(name); v != "" {
				o.got = append(o.got, q.URL.Path+": "+v)
			}
		}
		o.mu.Unlock()
		direct, _ := http.NewRequestWithContext(q.Context(), q.Method, "http://"+r.host+q.URL.Path+"?direct", nil)
		res, err := http.DefaultClient.Do(direct)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer res.Body.Close()
		for _, name := range []string{"Content-Type", "Docker-Content-Digest"} {
			w.Header().Set(name, res.Header.Get(name))
		}
		w.WriteHeader(res.StatusCode)
		_, _ = io.Copy(w, res.Body)
	}))
	t.Cleanup(o.Close)
	return o
}

func TestCredentialsDoNotFollowARedirect(t *testing.T) {
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("me:secret"))
	for _, scheme := range []string{"Basic", "Bearer"} {
		for _, host := range []string{"127.0.0.1", "localhost"} { // another port of the same host, and another name
			for _, what := range []string{"/manifests/", "/blobs/"} {
				t.Run(fmt.Sprintf("%s to %s from %s", scheme, host, what), func(t *testing.T) {
					r := newRegistry(t)
					ref := r.push(t, "sample:1", sample(t, "x"))
					other := newOtherHost(t, r)
					elsewhere := strings.Replace(other.URL, "127.0.0.1", host, 1)
					want := map[string]string{"Basic": basic, "Bearer": "Bearer token"}[scheme]
					challenge := map[string]string{"Basic": "Basic", "Bearer": fmt.Sprintf("Bearer realm=%q", "http://"+r.host+"/token")}[scheme]
					r.misbehave(func(w http.ResponseWriter, q *http.Request) bool {
						switch got := q.Header.Get("Authorization"); {
						case q.URL.RawQuery == "direct":
							return false
						case q.URL.Path == "/token" && got == basic:
							_, _ = w.Write([]byte(`{"token":"token"}`))
							return true
						case got != want:
							w.Header().Set("WWW-Authenticate", challenge)
							w.WriteHeader(http.StatusUnauthorized)
							return true
						case strings.Contains(q.URL.Path, what):
							http.Redirect(w, q, elsewhere+q.URL.Path, http.StatusTemporaryRedirect)
							return true
						}
						return false
					})
					s := newStore(t, t.TempDir())
					s.keychain = oneLogin{authn.FromConfig(authn.AuthConfig{Username: "me", Password: "secret"})}
					if _, err := s.Pull(t.Context(), ref, amd64, nil); err != nil {
						t.Fatal(err)
					}
					other.mu.Lock()
					defer other.mu.Unlock()
					if other.asks == 0 || len(other.got) > 0 {
						t.Errorf("the other host was asked %d times and got %q", other.asks, slices.Compact(other.got))
					}
				})
			}
		}
	}
}

// hangingKeychain is a credential helper that waits for a password.
type hangingKeychain struct{ never chan struct{} }

func (k hangingKeychain) Resolve(authn.Resource) (authn.Authenticator, error) {
	<-k.never
	return authn.Anonymous, nil
}

func TestCredentialHelperThatHangsIsGivenUp(t *testing.T) {
	k := hangingKeychain{make(chan struct{})}
	defer close(k.never)
	repo, err := name.NewRepository("registry.example/app")
	if err != nil {
		t.Fatal(err)
	}
	s := &registrySource{keychain: k, helperTime: time.Millisecond}
	var late *CredentialError
	if _, err := s.credentials(t.Context(), repo); !errors.As(err, &late) || late.Registry != "registry.example" {
		t.Errorf("credentials = %v, want a CredentialError", err)
	}
	s.helperTime = time.Hour
	gaveUp := errors.New("gave up")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gaveUp)
	if _, err := s.credentials(ctx, repo); !errors.Is(err, gaveUp) {
		t.Errorf("credentials = %v, want %v", err, gaveUp)
	}
}
