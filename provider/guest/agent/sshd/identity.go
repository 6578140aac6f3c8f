//go:build linux

package sshd

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"syscall"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/guest/agent/account"
)

// identity is the user and the groups that a session runs as.
type identity struct {
	account.User
	groups []uint32 // supplementary
}

// identify returns the identity that a session's reserved variables select.
//
// A gid with a uid is the primary group. A gid alone is an additional group, as in Apple's
// container machine.
func (s *Server) identify(directives map[string]string) (identity, error) {
	u, err := s.lookup(directives)
	if err != nil {
		return identity{}, err
	}
	groups := s.opts.Users.Groups(u)
	if text, ok := directives[guest.EnvGID]; ok {
		gid, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return identity{}, fmt.Errorf("group id %q is not a number", text)
		}
		if _, both := directives[guest.EnvUID]; both {
			u.GID, groups[0] = int(gid), int(gid)
		} else if !slices.Contains(groups, int(gid)) {
			groups = append(groups, int(gid))
		}
	}
	id := identity{User: u}
	for _, g := range groups {
		id.groups = append(id.groups, uint32(g))
	}
	return id, nil
}

func (s *Server) lookup(directives map[string]string) (account.User, error) {
	if text, ok := directives[guest.EnvUID]; ok {
		uid, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return account.User{}, fmt.Errorf("user id %q is not a number", text)
		}
		if u, ok := s.opts.Users.ByUID(int(uid)); ok {
			return withShell(u), nil
		}
		return account.User{UID: int(uid), Home: "/", Shell: "/bin/sh"}, nil
	}
	name, ok := directives[guest.EnvUser]
	if !ok {
		name = s.opts.DefaultUser
	}
	u, ok := s.opts.Users.ByName(name)
	if !ok && name == "root" { // an image may have no accounts at all, but it has root
		return account.User{Name: name, Home: "/", Shell: "/bin/sh"}, nil
	}
	if !ok {
		return u, fmt.Errorf("user %q is not in this machine's /etc/passwd", name)
	}
	return withShell(u), nil
}

// withShell gives an account without a shell the usual one, as passwd(5) says.
func withShell(u account.User) account.User {
	u.Shell = cmp.Or(u.Shell, "/bin/sh")
	return u
}

// credential returns nil if the server is not root and so cannot change the user, as in
// tests.
func (id identity) credential() *syscall.Credential {
	if os.Geteuid() != 0 {
		return nil
	}
	return &syscall.Credential{Uid: uint32(id.UID), Gid: uint32(id.GID), Groups: id.groups}
}

// defaultPath is the search path unless the image sets another.
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environment returns the environment of a session of id, whose directory for run-time files is
// runtime, or none. Later entries override earlier ones.
func (id identity) environment(image []string, runtime string, session []string) []string {
	env := append([]string{defaultPath}, image...)
	env = append(env, "HOME="+id.Home, "SHELL="+id.Shell)
	if id.Name != "" {
		env = append(env, "USER="+id.Name, "LOGNAME="+id.Name)
	}
	if runtime != "" {
		env = append(env, "XDG_RUNTIME_DIR="+runtime)
	}
	return append(env, session...)
}

// runtimeDir returns the directory that systemd has made for the user's run-time files, or "".
func (id identity) runtimeDir(ctx context.Context, l *looks) string {
	dir := path.Join("/run/user", strconv.Itoa(id.UID))
	if found, err := l.look(ctx, dir); err != nil || !found {
		return ""
	}
	return dir
}

// workingDir returns the requested directory, or the home, or "/" if the home is missing. A home
// that hangs is not missing.
func (id identity) workingDir(ctx context.Context, l *looks, wanted string, set bool) string {
	if set {
		return wanted
	}
	if dir, err := l.look(ctx, id.Home); dir || hangs(err) {
		return id.Home
	}
	return "/"
}
