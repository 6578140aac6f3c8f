package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// node is a file or directory of a system that exists only in a test.
type node struct {
	uid  uint32
	mode fs.FileMode
	dev  uint64
}

func (n node) Name() string       { return "" }
func (n node) Size() int64        { return 0 }
func (n node) Mode() fs.FileMode  { return n.mode }
func (n node) ModTime() time.Time { return time.Time{} }
func (n node) IsDir() bool        { return n.mode.IsDir() }

const (
	ada     = 1000
	mallory = 1001
	dir     = fs.ModeDir | 0o755
)

// tree is the files of such a system. A directory that is not in it is root's.
type tree map[string]node

func (t tree) stat(path string) (fs.FileInfo, error) {
	n, ok := t[path]
	if ok {
		return n, nil
	}
	for name := range t {
		if strings.HasPrefix(name, strings.TrimSuffix(path, "/")+"/") {
			return node{mode: dir}, nil
		}
	}
	return nil, &fs.PathError{Op: "stat", Path: path, Err: fs.ErrNotExist}
}

// lstat takes each file whose link is in the tree, as "link PATH", for a link.
func (t tree) lstat(path string) (fs.FileInfo, error) {
	if link, ok := t["link "+path]; ok {
		return link, nil
	}
	return t.stat(path)
}

func TestFindTrusts(t *testing.T) {
	own := node{uid: ada, mode: 0o644}
	ownDir := node{uid: ada, mode: dir}
	tests := map[string]struct {
		tree tree
		sudo string // who called sudo; else ada searches
		want string // of the error; empty: the file is taken
	}{
		"your file in your directory":              {tree: tree{"/w": ownDir, "/w/machines.hcl": own}},
		"root's file in root's directory":          {tree: tree{"/w/machines.hcl": {mode: 0o644}}},
		"your file in root's directory":            {tree: tree{"/w/machines.hcl": own}},
		"a file and directory that a group writes": {tree: tree{"/w": {uid: ada, mode: fs.ModeDir | 0o775}, "/w/machines.hcl": {uid: ada, mode: 0o664}}},
		"your file in /tmp":                        {tree: tree{"/w": {mode: fs.ModeDir | fs.ModeSticky | 0o777}, "/w/machines.hcl": own}},
		"another user's file": {
			tree: tree{"/w": ownDir, "/w/machines.hcl": {uid: mallory, mode: 0o644}},
			want: "refused project file /w/machines.hcl: it belongs to the user",
		},
		"another user's file in /tmp": {
			tree: tree{"/w": {mode: fs.ModeDir | fs.ModeSticky | 0o777}, "/w/machines.hcl": {uid: mallory, mode: 0o644}},
			want: "it belongs to the user",
		},
		"your file in another user's directory": {
			tree: tree{"/w": {uid: mallory, mode: dir}, "/w/machines.hcl": own},
			want: "refused project file /w/machines.hcl: its directory belongs to the user",
		},
		"a file that every user writes": {
			tree: tree{"/w": ownDir, "/w/machines.hcl": {uid: ada, mode: 0o666}},
			want: "it may be changed by every user (mode 0666)",
		},
		"a directory that every user writes": {
			tree: tree{"/w": {uid: ada, mode: fs.ModeDir | 0o777}, "/w/machines.hcl": own},
			want: "its directory may be changed by every user (mode 0777)",
		},
		"a pipe of another user": {
			tree: tree{"/w": ownDir, "/w/machines.hcl": {uid: mallory, mode: fs.ModeNamedPipe | 0o644}},
			want: "it belongs to the user",
		},
		"your link to your file": {tree: tree{"/w": ownDir, "/w/machines.hcl": own, "link /w/machines.hcl": {uid: ada, mode: fs.ModeSymlink | 0o777}}},
		"another user's link to your file": {
			tree: tree{
				"/w": {mode: fs.ModeDir | fs.ModeSticky | 0o777}, "/w/machines.hcl": own,
				"link /w/machines.hcl": {uid: mallory, mode: fs.ModeSymlink | 0o777},
			},
			want: "it belongs to the user",
		},
		"sudo in the caller's project": {tree: tree{"/w": ownDir, "/w/machines.hcl": own}, sudo: fmt.Sprint(ada)},
		"sudo in another user's project": {
			tree: tree{"/w": ownDir, "/w/machines.hcl": own}, sudo: fmt.Sprint(mallory),
			want: "it belongs to the user",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := search{stat: tt.tree.stat, lstat: tt.tree.lstat, home: "/home/ada", trusted: trustedUsers(ada, "")}
			if tt.sudo != "" {
				s.trusted = trustedUsers(0, tt.sudo)
			}
			file, err := s.find("/w/deep/er")
			if tt.want == "" {
				if err != nil || file != "/w/machines.hcl" {
					t.Errorf("find = %q, %v", file, err)
				}
				return
			}
			var untrusted *UntrustedError
			if !errors.As(err, &untrusted) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(untrusted.Remedy(), "-f /w/machines.hcl") {
				t.Errorf("find = %q, %v; want %q", file, err, tt.want)
			}
		})
	}
}

func TestOnlyRootTrustsWhoCalledSudo(t *testing.T) {
	for _, sudo := range []string{"", "x", "-1", "4294967296"} {
		if got := trustedUsers(0, sudo); len(got) != 2 {
			t.Errorf("SUDO_UID=%q adds a user: %v", sudo, got)
		}
	}
	if got := trustedUsers(ada, fmt.Sprint(mallory)); len(got) != 2 {
		t.Errorf("a user trusts SUDO_UID: %v", got)
	}
}

func TestFindEnds(t *testing.T) {
	above := node{mode: 0o644}
	tests := map[string]struct {
		tree tree
		last string
		why  string
	}{
		"at the root directory":                 {tree{"/w/x/file": above}, "/", ""},
		"at the home directory":                 {tree{"/machines.hcl": above, "/w/home": {mode: dir}}, "/w", ""},
		"at a repository's root":                {tree{"/machines.hcl": above, "/w/x/.git": {mode: dir}}, "/w/x", "the root of a repository"},
		"at the root of a worktree of git":      {tree{"/machines.hcl": above, "/w/x/.git": {mode: 0o644}}, "/w/x", "the root of a repository"},
		"at the root of a Mercurial repository": {tree{"/machines.hcl": above, "/w/x/.hg": {mode: dir}}, "/w/x", "the root of a repository"},
		"at the root of a Jujutsu repository":   {tree{"/machines.hcl": above, "/w/x/.jj": {mode: dir}}, "/w/x", "the root of a repository"},
		"at a file system's border": {
			tree{"/machines.hcl": above, "/w/x/y": {mode: dir, dev: 1}, "/w/x": {mode: dir, dev: 1}}, "/w/x", "the root of a file system",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := search{stat: tt.tree.stat, lstat: tt.tree.lstat, trusted: trustedUsers(ada, "")}
			if name == "at the home directory" {
				s.home = "/w"
			}
			file, err := s.find("/w/x/y")
			var missing *NotFoundError
			if !errors.As(err, &missing) || missing.Last != tt.last || missing.Why != tt.why || !strings.HasSuffix(err.Error(), tt.why) {
				t.Errorf("find = %q, %v; want the end at %s", file, err, tt.last)
			}
		})
	}
	repository := tree{"/w/x/.git": {mode: dir}, "/w/x/machines.hcl": above}
	s := search{stat: repository.stat, lstat: repository.lstat, trusted: trustedUsers(ada, "")}
	if file, err := s.find("/w/x/y"); err != nil || file != "/w/x/machines.hcl" {
		t.Errorf("in the repository's root: %q, %v", file, err)
	}
}

func TestFindRefusesARealFileOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away; CI also runs the tests as root")
	}
	t.Setenv("SUDO_UID", "")
	root := t.TempDir()
	file := filepath.Join(root, FileName)
	write(t, file, "")
	if got, err := Find(root); err != nil || got != file {
		t.Fatalf("Find = %q, %v", got, err)
	}
	var untrusted *UntrustedError
	for _, path := range []string{root, file} {
		if err := os.Chown(path, 54321, -1); err != nil {
			t.Fatal(err)
		}
		if got, err := Find(root); !errors.As(err, &untrusted) || untrusted.Path != path || !strings.Contains(err.Error(), "the user with the ID 54321") {
			t.Errorf("Find = %q, %v; want an error about %s", got, err, path)
		}
		if err := os.Chown(path, 0, -1); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("SUDO_UID", "54321")
	if err := errors.Join(os.Chown(root, 54321, -1), os.Chown(file, 54321, -1)); err != nil {
		t.Fatal(err)
	}
	if got, err := Find(root); err != nil || got != file {
		t.Errorf("after sudo: Find = %q, %v", got, err)
	}
}
