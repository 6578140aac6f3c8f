package image

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/config/types"
	"github.com/docker/docker-credential-helpers/client"
	"github.com/docker/docker-credential-helpers/credentials"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/stead-vm/stead/provider/regular"
)

const (
	// helperTime limits a credential helper, which may ask a person to unlock a keyring.
	helperTime = 30 * time.Second
	// helperRest is how long a helper that has failed is not asked again.
	helperRest = 5 * time.Minute
	// maxCredentials bounds the file with credentials.
	maxCredentials = 4 << 20
)

// keychain finds the credentials that docker and podman use. go-containerregistry's would wait for
// a helper without end, in a lock that other registries need, and not say which file names it.
type keychain struct {
	log  *slog.Logger
	time time.Duration // for a helper

	mu     sync.Mutex
	failed map[string]failure // by file and helper
}

// failure is what a helper or file has failed with.
type failure struct {
	err   *CredentialError
	until time.Time // nobody is asked again before
}

func newKeychain(log *slog.Logger) *keychain {
	return &keychain{log: log, time: helperTime, failed: map[string]failure{}}
}

// CredentialError reports credentials that were not found out, because of a helper or a file.
type CredentialError struct {
	Registry string
	Helper   string // the program; empty if the file itself is unusable
	File     string // which has the credentials or names the helper
	Err      error
}

func (e *CredentialError) Error() string {
	if e.Helper == "" {
		return fmt.Sprintf("cannot read the credentials in %s: %v", e.File, e.Err)
	}
	return fmt.Sprintf("the credential helper %s, which %s names, failed for %s: %v", e.Helper, e.File, e.Registry, e.Err)
}

// Unwrap returns the cause.
func (e *CredentialError) Unwrap() error { return e.Err }

// Remedy says what to change in the file.
func (e *CredentialError) Remedy() string {
	if e.Helper == "" {
		return "correct or remove " + e.File
	}
	return fmt.Sprintf(`install or repair %s, or remove it from "credsStore" or "credHelpers" in %s`, e.Helper, e.File)
}

// Resolve is ResolveContext without a context.
func (k *keychain) Resolve(target authn.Resource) (authn.Authenticator, error) {
	return k.ResolveContext(context.Background(), target)
}

// ResolveContext returns the credentials for a repository, or [authn.Anonymous]. It warns of a
// failure once, and returns it as a *[CredentialError].
func (k *keychain) ResolveContext(ctx context.Context, target authn.Resource) (authn.Authenticator, error) {
	file, err := loadCredentials()
	if err != nil {
		return nil, k.fail(file.Filename, &CredentialError{Registry: target.RegistryStr(), File: file.Filename, Err: err})
	}
	// As with docker, the environment comes before a helper, and a helper before the file.
	environment := func(_ context.Context, _ *configfile.ConfigFile, server string) (types.AuthConfig, error) {
		return configfile.New("").GetAuthConfig(server)
	}
	for _, get := range []func(context.Context, *configfile.ConfigFile, string) (types.AuthConfig, error){environment, k.get} {
		for _, key := range []string{target.String(), target.RegistryStr()} {
			if key == name.DefaultRegistry {
				key = authn.DefaultAuthKey
			}
			c, err := get(ctx, file, key)
			if err != nil {
				return nil, err
			}
			c.ServerAddress = "" // is set in any case
			if c != (types.AuthConfig{}) {
				return authn.FromConfig(authn.AuthConfig{
					Username: c.Username, Password: c.Password, Auth: c.Auth,
					IdentityToken: c.IdentityToken, RegistryToken: c.RegistryToken,
				}), nil
			}
		}
	}
	return authn.Anonymous, nil
}

// get returns the credentials that a helper or the file has for a server, which may be empty.
func (k *keychain) get(ctx context.Context, file *configfile.ConfigFile, server string) (types.AuthConfig, error) {
	suffix, own := file.CredentialHelpers[server]
	if !own {
		suffix = file.CredentialsStore
	}
	if suffix == "" {
		return file.GetAuthConfig(server)
	}
	helper := "docker-credential-" + suffix
	id := file.Filename + "\x00" + helper
	if err := k.rests(id); err != nil {
		return types.AuthConfig{}, err
	}
	c, err := k.ask(ctx, helper, server)
	switch {
	case err == nil:
		return c, nil
	case ctx.Err() != nil:
		return c, context.Cause(ctx)
	}
	return c, k.fail(id, &CredentialError{Registry: server, Helper: helper, File: file.Filename, Err: err})
}

// rests returns the error of what has failed a short time ago.
func (k *keychain) rests(id string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if f, ok := k.failed[id]; ok && time.Now().Before(f.until) {
		return f.err
	}
	return nil
}

// fail keeps e, and warns unless the same has failed a short time ago.
func (k *keychain) fail(id string, e *CredentialError) error {
	known := k.rests(id) != nil
	k.mu.Lock()
	k.failed[id] = failure{e, time.Now().Add(helperRest)}
	k.mu.Unlock()
	if !known {
		k.log.Warn("continuing without credentials: " + e.Error())
	}
	return e
}

// ask runs a helper, and kills it when its time is over.
func (k *keychain) ask(ctx context.Context, helper, server string) (c types.AuthConfig, err error) {
	path, err := exec.LookPath(helper)
	if err != nil {
		return c, errors.New("there is no such program in the PATH")
	}
	late := fmt.Errorf("it did not answer within %v", k.time)
	ctx, cancel := context.WithTimeoutCause(ctx, k.time, late)
	defer cancel()
	found, err := client.Get(func(args ...string) client.Program {
		return helperProgram{exec.CommandContext(ctx, path, args...)}
	}, server)
	switch {
	case context.Cause(ctx) != nil:
		return c, context.Cause(ctx)
	case credentials.IsErrCredentialsNotFound(err):
		return c, nil
	case err != nil:
		text := strings.TrimPrefix(err.Error(), "error getting credentials - err: ")
		return c, errors.New(strings.TrimSuffix(text, ", out: ``"))
	case found.Username == "<token>": // of the helpers' protocol
		c.IdentityToken = found.Secret
	default:
		c.Username, c.Password = found.Username, found.Secret
	}
	return c, nil
}

// helperProgram is a helper that runs in a context.
type helperProgram struct{ *exec.Cmd }

// Input sets what the helper reads.
func (p helperProgram) Input(in io.Reader) { p.Stdin = in }

// Output runs the helper. Its messages, such as a request for a password, go to the user.
func (p helperProgram) Output() ([]byte, error) {
	// By a pipe: a child that outlives the helper must not keep the user's terminal or pipe open.
	p.Stderr = struct{ io.Writer }{os.Stderr}
	p.WaitDelay = time.Second
	return p.Cmd.Output()
}

// loadCredentials reads the file with credentials: docker's, or else podman's. Its name is known
// even if it is not readable; without any file it is empty.
func loadCredentials() (*configfile.ConfigFile, error) {
	for _, path := range credentialFiles() {
		if info, err := os.Stat(path); err != nil || info.IsDir() {
			continue
		}
		raw, err := regular.ReadFile(path, maxCredentials)
		if err != nil {
			return configfile.New(path), err
		}
		file, err := config.LoadFromReader(bytes.NewReader(raw))
		file.Filename = path
		return file, err
	}
	return configfile.New(""), nil
}

// credentialFiles returns where docker and podman keep credentials, as docker-login(1) and
// containers-auth.json(5) say.
func credentialFiles() []string {
	home, _ := os.UserHomeDir() // without it, only the variables count
	dirs := []string{
		filepath.Join(cmp.Or(os.Getenv("DOCKER_CONFIG"), filepath.Join(home, ".docker")), "config.json"),
		os.Getenv("REGISTRY_AUTH_FILE"),
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		dirs = append(dirs, filepath.Join(dir, "containers", "auth.json"))
	}
	dirs = append(dirs, filepath.Join(cmp.Or(os.Getenv("XDG_CONFIG_HOME"), filepath.Join(home, ".config")), "containers", "auth.json"))
	return dirs
}
