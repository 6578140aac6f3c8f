package host

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// inTemp returns a short directory, as sockets need, and a run directory with its record in it.
func inTemp(t *testing.T) (dir string, r RunDir) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "stead-rundir")
	if err != nil {
		t.Fatal(err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir, RunDir{State: dir, ID: "dev", Record: filepath.Join(dir, "record")}
}

// foreign makes a directory that belongs to another user, or that other users may enter if only
// root could give it away.
func foreign(t *testing.T, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := errors.Join(os.Chmod(dir, 0o700), os.Chown(dir, 54321, 54321)); err != nil {
			t.Fatal(err)
		}
	}
}

func private(t *testing.T, dir string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestMakeRoot(t *testing.T) {
	usual := ownRoot()
	tests := map[string]struct {
		places func(t *testing.T, dir string) places
		want   string // relative to dir; a final "*" matches anything
		fails  bool
	}{
		"the usual one is in /tmp": {
			places: func(_ *testing.T, dir string) places { return places{tmp: dir} }, want: usual,
		},
		"the state directory, where the system prefers that": {
			places: func(t *testing.T, dir string) places {
				return places{state: dir, inState: true, lasting: private(t, dir+"/xdg"), tmp: dir}
			},
			want: "run",
		},
		"not the state directory if its path is too long": {
			places: func(_ *testing.T, dir string) places {
				return places{state: dir + strings.Repeat("/long", 20), inState: true, tmp: dir}
			},
			want: usual,
		},
		"a state directory that others may enter is an error": {
			places: func(t *testing.T, dir string) places {
				foreign(t, dir+"/run")
				return places{state: dir, inState: true, tmp: dir}
			},
			fails: true,
		},
		"a directory that outlives log-outs comes first": {
			places: func(t *testing.T, dir string) places { return places{lasting: private(t, dir+"/xdg"), tmp: dir} },
			want:   "xdg/stead",
		},
		"not if it is missing": {
			places: func(_ *testing.T, dir string) places { return places{lasting: dir + "/xdg", tmp: dir} }, want: usual,
		},
		"not if it is another user's": {
			places: func(t *testing.T, dir string) places {
				foreign(t, dir+"/xdg")
				return places{lasting: dir + "/xdg", tmp: dir}
			},
			want: usual,
		},
		"not if its path is too long": {
			places: func(t *testing.T, dir string) places {
				return places{lasting: private(t, dir+strings.Repeat("/long", 20)), tmp: dir}
			},
			want: usual,
		},
		"not if another user has made ours in it": {
			places: func(t *testing.T, dir string) places {
				foreign(t, private(t, dir+"/xdg")+"/stead")
				return places{lasting: dir + "/xdg", tmp: dir}
			},
			want: usual,
		},
		"another name if another user has the usual one": {
			places: func(t *testing.T, dir string) places {
				foreign(t, filepath.Join(dir, usual))
				return places{tmp: dir}
			},
			want: usual + "-*",
		},
		"another name if the usual one is a link": {
			places: func(t *testing.T, dir string) places {
				if err := os.Symlink(private(t, dir+"/elsewhere"), filepath.Join(dir, usual)); err != nil {
					t.Fatal(err)
				}
				return places{tmp: dir}
			},
			want: usual + "-*",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir, r := inTemp(t)
			got, err := r.makeRoot(tt.places(t, dir))
			if tt.fails {
				if err == nil {
					t.Errorf("makeRoot = %s", got)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			rel, _ := filepath.Rel(dir, got)
			if prefix, any := strings.CutSuffix(tt.want, "*"); rel != tt.want && (!any || !strings.HasPrefix(rel, prefix)) {
				t.Errorf("makeRoot = %s, want %s", rel, tt.want)
			}
			if err := CheckPrivate(got); err != nil || !short(got) {
				t.Errorf("%s: %v, %d bytes", got, err, len(got))
			}
		})
	}
}

func TestRunDirIsFoundInEverySession(t *testing.T) {
	_, r := inTemp(t)
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/"+ownRoot())
	made, err := r.Make()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Remove() })
	for _, dir := range []string{"", "/nonexistent", r.State} {
		t.Setenv("XDG_RUNTIME_DIR", dir)
		if got, err := r.Find(); err != nil || got != made {
			t.Errorf("with XDG_RUNTIME_DIR=%s: Find = %s, %v; want %s", dir, got, err, made)
		}
	}
	again, err := r.Make()
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(again); err != nil || len(left) > 0 {
		t.Errorf("a new directory has %v, %v", left, err)
	}
	if err := r.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(r.Record); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the record is left: %v", err)
	}
	if _, err := os.Lstat(made); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is left: %v", err)
	}
	if err := r.Remove(); err != nil {
		t.Errorf("a second time: %v", err)
	}
}

func TestARecordThatIsWrongLeadsNowhere(t *testing.T) {
	tests := map[string]func(t *testing.T, dir string, r RunDir) string{
		"no record":                nil,
		"a directory that is gone": func(_ *testing.T, dir string, r RunDir) string { return filepath.Join(dir, r.name()) },
		"another directory":        func(t *testing.T, dir string, _ RunDir) string { return private(t, filepath.Join(dir, "precious")) },
		"a relative path": func(t *testing.T, dir string, r RunDir) string {
			private(t, filepath.Join(dir, r.name()))
			return r.name()
		},
		"another user's directory": func(t *testing.T, dir string, r RunDir) string {
			foreign(t, filepath.Join(dir, r.name()))
			return filepath.Join(dir, r.name())
		},
		"a directory in another user's": func(t *testing.T, dir string, r RunDir) string {
			foreign(t, filepath.Join(dir, "other"))
			if err := os.Mkdir(filepath.Join(dir, "other", r.name()), 0o700); err != nil {
				t.Fatal(err)
			}
			return filepath.Join(dir, "other", r.name())
		},
		"another machine's directory": func(t *testing.T, dir string, r RunDir) string {
			r.ID = "other"
			return private(t, filepath.Join(dir, r.name()))
		},
	}
	for name, damage := range tests {
		t.Run(name, func(t *testing.T) {
			dir, r := inTemp(t)
			target := ""
			if damage != nil {
				target = damage(t, dir, r)
				if err := os.Symlink(target, r.Record); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := r.Find(); err == nil {
				t.Errorf("Find = %s", got)
			}
			_, before := os.Lstat(target)
			if err := r.Remove(); err != nil {
				t.Errorf("Remove = %v", err)
			}
			if _, after := os.Lstat(target); before == nil && after != nil {
				t.Errorf("it removed %s", target)
			}
			if _, err := os.Lstat(r.Record); !errors.Is(err, syscall.ENOENT) {
				t.Errorf("the record is left: %v", err)
			}
		})
	}
}
