package image

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
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

// credentialHelper installs a helper for every registry, and returns the file that names it. Without
// a script there is no such program.
func credentialHelper(t *testing.T, script string) (file string) {
	t.Helper()
	dir := t.TempDir()
	file = writeFile(t, filepath.Join(dir, "config.json"), []byte(`{"credsStore": "test"}`))
	t.Setenv("DOCKER_CONFIG", dir)
	if script != "" {
		if err := os.WriteFile(filepath.Join(dir, "docker-credential-test"), []byte("#!/bin/sh\n"+script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
	return file
}

// wants makes the registry want a user's password for everything.
func (r *fakeRegistry) wants(user, password string) {
	r.misbehave(func(w http.ResponseWriter, q *http.Request) bool {
		if u, p, _ := q.BasicAuth(); u == user && p == password {
			return false
		}
		w.Header().Set("WWW-Authenticate", "Basic")
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
}

func TestPublicImagesNeedNoCredentialHelper(t *testing.T) {
	tests := map[string]struct {
		script string
		reason string // part of the warning; empty if there is none
		login  bool   // a private image can be pulled
	}{
		"missing":             {"", "there is no such program in the PATH", false},
		"failing":             {"echo locked; exit 1", "exit status 1, out: `locked`", false},
		"hanging":             {"exec sleep 1000", "did not answer within", false},
		"a child that hangs":  {"sleep 1000 & echo $! >$DOCKER_CONFIG/child; wait", "did not answer within", false},
		"not JSON":            {"echo oops", "invalid character", false},
		"without credentials": {`echo "credentials not found in native keychain"; exit 1`, "", false},
		"with credentials":    {`echo '{"Username": "me", "Secret": "secret"}'`, "", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			file := credentialHelper(t, tt.script)
			s, log := loggedStore(t)
			k := newKeychain(s.log)
			k.time = time.Minute
			if strings.Contains(tt.script, "sleep") {
				k.time = 50 * time.Millisecond
			}
			s.keychain = k
			public, locked := newRegistry(t), newRegistry(t)
			ref := public.push(t, "public:1", sample(t, "x"))
			if _, err := s.Pull(t.Context(), ref, amd64, nil); err != nil {
				t.Fatalf("a public image: %v", err)
			}
			endChild(t, filepath.Join(filepath.Dir(file), "child"))
			if tt.reason == "" && log.Len() > 0 {
				t.Errorf("logged %s", log)
			}
			if tt.reason != "" {
				wantWords(t, log.String(), "continuing without credentials", "docker-credential-test", file, tt.reason)
			}
			if n := strings.Count(log.String(), "\n"); n > 1 {
				t.Errorf("%d warnings:\n%s", n, log)
			}

			ref = locked.push(t, "private:1", sample(t, "y"))
			locked.wants("me", "secret")
			_, err := s.Pull(t.Context(), ref, amd64, nil)
			switch {
			case tt.login && err != nil:
				t.Error(err)
			case !tt.login && tt.reason == "":
				wantError(t, err, "docker login", "denied access (401)")
			case !tt.login:
				wantError(t, err, "install or repair docker-credential-test", "denied access without credentials", file, tt.reason)
			}
		})
	}
}

// endChild ends the process whose id is in a file, if there is such a file.
func endChild(t *testing.T, file string) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}

func wantWords(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q does not say %q", text, w)
		}
	}
}

func TestCredentialsOfFilesAndTheEnvironment(t *testing.T) {
	r := newRegistry(t)
	ref := r.push(t, "private:1", sample(t, "x"))
	r.wants("me", "secret")
	auths := fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, r.host, base64.StdEncoding.EncodeToString([]byte("me:secret")))
	pull := func(t *testing.T) (string, error) {
		t.Helper()
		s, log := loggedStore(t)
		s.keychain = newKeychain(s.log)
		_, err := s.Pull(t.Context(), ref, amd64, nil)
		return log.String(), err
	}
	for _, name := range []string{"DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"} {
		t.Setenv(name, t.TempDir())
	}
	t.Setenv("HOME", t.TempDir())
	for variable, file := range map[string]string{
		"DOCKER_CONFIG": "config.json", "XDG_RUNTIME_DIR": "containers/auth.json", "XDG_CONFIG_HOME": "containers/auth.json",
	} {
		t.Run(variable, func(t *testing.T) {
			t.Setenv(variable, t.TempDir())
			path := filepath.Join(os.Getenv(variable), file)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			writeFile(t, path, []byte(auths))
			if log, err := pull(t); err != nil || log != "" {
				t.Errorf("%v, logged %q", err, log)
			}
			writeFile(t, path, []byte("{"))
			log, err := pull(t)
			wantWords(t, log, "cannot read the credentials in "+path)
			wantError(t, err, "correct or remove "+path, "denied access without credentials")
		})
	}
	t.Run("REGISTRY_AUTH_FILE", func(t *testing.T) {
		t.Setenv("REGISTRY_AUTH_FILE", writeFile(t, filepath.Join(t.TempDir(), "auth.json"), []byte(auths)))
		if log, err := pull(t); err != nil || log != "" {
			t.Errorf("%v, logged %q", err, log)
		}
	})
	t.Run("DOCKER_AUTH_CONFIG beside a helper that fails", func(t *testing.T) {
		credentialHelper(t, "exit 1")
		t.Setenv("DOCKER_AUTH_CONFIG", auths)
		if log, err := pull(t); err != nil || log != "" {
			t.Errorf("%v, logged %q", err, log)
		}
	})
}

func TestInterruptEndsACredentialHelper(t *testing.T) {
	credentialHelper(t, "exec sleep 1000")
	repo, err := name.NewRepository("registry.example/app")
	if err != nil {
		t.Fatal(err)
	}
	gaveUp := errors.New("gave up")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gaveUp)
	if _, err := newKeychain(slog.New(slog.DiscardHandler)).ResolveContext(ctx, repo); !errors.Is(err, gaveUp) {
		t.Errorf("got %v, want %v", err, gaveUp)
	}
}
