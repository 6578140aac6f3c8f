//go:build linux

package account

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	debianPasswd = "root:x:0:0:root:/root:/bin/bash\ngames:x:5:60:games:/usr/games:/usr/sbin/nologin\n"
	debianGroup  = "root:x:0:\ndialout:x:20:\ngames:x:60:\n"
	debianShadow = "root:*:19000:0:99999:7:::\ngames:*:19000:0:99999:7:::\n"
)

func TestEnsure(t *testing.T) {
	alice := User{Name: "alice", UID: 1000, GID: 1000, Home: "/home/alice", Shell: "/bin/bash"}
	base := Files{Passwd: debianPasswd, Group: debianGroup, Shadow: debianShadow}
	with := func(passwd, group string) Files {
		return Files{Passwd: base.Passwd + passwd, Group: base.Group + group, Shadow: base.Shadow}
	}
	tests := map[string]struct {
		have   Files
		want   User
		passwd string // expected passwd
		group  string // expected group
		got    User
	}{
		"a new user gets a line in each file": {
			have: base, want: alice, got: alice,
			passwd: debianPasswd + "alice:x:1000:1000:alice:/home/alice:/bin/bash\n",
			group:  debianGroup + "alice:x:1000:\n",
		},
		"a group that has the gid is used under its own name": {
			have: base, want: User{"alice", 501, 20, "/home/alice", "/bin/sh"}, got: User{"alice", 501, 20, "/home/alice", "/bin/sh"},
			passwd: debianPasswd + "alice:x:501:20:alice:/home/alice:/bin/sh\n",
			group:  debianGroup,
		},
		"an account of the same name and ids keeps its home and shell": {
			have: with("alice:x:1000:1000:A:/srv/alice:/bin/zsh\n", "alice:x:1000:\n"), want: alice,
			got:    User{"alice", 1000, 1000, "/srv/alice", "/bin/zsh"},
			passwd: debianPasswd + "alice:x:1000:1000:A:/srv/alice:/bin/zsh\n",
			group:  debianGroup + "alice:x:1000:\n",
		},
		"an account of the same name with other ids gets ours, and its own group moves along": {
			have: with("alice:x:1500:1500:A:/home/alice:/bin/zsh\n", "alice:x:1500:bob\n"), want: alice,
			got:    User{"alice", 1000, 1000, "/home/alice", "/bin/zsh"},
			passwd: debianPasswd + "alice:x:1000:1000:A:/home/alice:/bin/zsh\n",
			group:  debianGroup + "alice:x:1000:bob\n",
		},
		"the image's user of the same uid stays as an alias behind ours": {
			have: with("ubuntu:x:1000:1000:Ubuntu:/home/ubuntu:/bin/bash\n", "ubuntu:x:1000:\n"), want: alice, got: alice,
			passwd: debianPasswd + "alice:x:1000:1000:alice:/home/alice:/bin/bash\nubuntu:x:1000:1000:Ubuntu:/home/ubuntu:/bin/bash\n",
			group:  debianGroup + "ubuntu:x:1000:\n",
		},
		"a shell that allows no log-in is replaced": {
			have: with("alice:x:1500:1500:A:/srv:/usr/sbin/nologin\n", ""), want: alice,
			got:    User{"alice", 1000, 1000, "/srv", "/bin/bash"},
			passwd: debianPasswd + "alice:x:1000:1000:A:/srv:/bin/bash\n",
			group:  debianGroup + "alice:x:1000:\n",
		},
		"an account of the system that has our ids is ours": {
			have: base, want: User{"games", 5, 60, "/home/games", "/bin/bash"},
			got:    User{"games", 5, 60, "/usr/games", "/bin/bash"},
			passwd: "root:x:0:0:root:/root:/bin/bash\ngames:x:5:60:games:/usr/games:/bin/bash\n",
			group:  debianGroup,
		},
		"a foreign group of our name is left alone": {
			have: with("", "alice:x:77:\n"), want: alice, got: alice,
			passwd: debianPasswd + "alice:x:1000:1000:alice:/home/alice:/bin/bash\n",
			group:  debianGroup + "alice:x:77:\nalice-1000:x:1000:\n",
		},
		"invalid lines are kept": {
			have:   Files{Passwd: "# comment\n+nis::::::\nbroken\n", Group: "\n+:::"},
			want:   alice,
			got:    alice,
			passwd: "# comment\n+nis::::::\nbroken\nalice:x:1000:1000:alice:/home/alice:/bin/bash\n",
			group:  "\n+:::\nalice:x:1000:\n",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			once, got, err := tt.have.Ensure(tt.want)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.got, got); d != "" {
				t.Errorf("account (-want +got):\n%s", d)
			}
			if d := cmp.Diff(tt.passwd, once.Passwd); d != "" {
				t.Errorf("passwd (-want +got):\n%s", d)
			}
			if d := cmp.Diff(tt.group, once.Group); d != "" {
				t.Errorf("group (-want +got):\n%s", d)
			}
			twice, _, _ := once.Ensure(tt.want)
			if d := cmp.Diff(once, twice); d != "" {
				t.Errorf("not idempotent (-once +twice):\n%s", d)
			}
		})
	}
}

func TestEnsureWritesShadowFiles(t *testing.T) {
	f := Files{Passwd: debianPasswd, Group: debianGroup, Shadow: debianShadow, GShadow: "root:*::\n"}
	got, _, err := f.Ensure(User{Name: "al.ice", UID: 1000, GID: 1000, Home: "/home/al.ice", Shell: "/bin/sh"})
	if err != nil {
		t.Fatal(err)
	}
	if want := debianShadow + "al.ice:*:::::::\n"; got.Shadow != want {
		t.Errorf("shadow = %q, want %q", got.Shadow, want)
	}
	if want := "root:*::\nal.ice:!::\n"; got.GShadow != want {
		t.Errorf("gshadow = %q, want %q", got.GShadow, want)
	}
}

func TestEnsureRefusesNamesThatBreakTheFiles(t *testing.T) {
	for _, name := range []string{"", "a:b", "a\nb", "-rf", "../x", "a b", "a,b", strings.Repeat("x", 33)} {
		if _, _, err := (Files{}).Ensure(User{Name: name}); err == nil {
			t.Errorf("name %q was accepted", name)
		}
	}
}

func TestEnsureRefusesTheNamesOfTheSystemsAccounts(t *testing.T) {
	have := Files{Passwd: debianPasswd + "postgres:x:105:110::/var/lib/postgresql:/bin/bash\nnobody:x:65534:65534::/:/bin/sh\n", Group: debianGroup}
	for _, name := range []string{"root", "games", "postgres", "nobody"} {
		got, _, err := have.Ensure(User{Name: name, UID: 4242, GID: 4242, Home: "/home/x", Shell: "/bin/sh"})
		var reserved *ReservedError
		if !errors.As(err, &reserved) || got != have {
			t.Errorf("%s: %v, and the files %+v", name, err, got)
		}
	}
}

func TestRenumbered(t *testing.T) {
	before := Files{
		Passwd: "a:x:1500:1500:::\nb:x:1600:1600:::\nalias:x:1600:1600:::\ngone:x:7:7:::\nsame:x:8:8:::\n",
		Group:  "a:x:1500:\nb:x:1600:\nsame:x:8:\n",
	}
	then := Files{
		Passwd: "a:x:1000:1000:::\nb:x:2000:1600:::\nalias:x:1600:1600:::\nsame:x:8:8:::\nnew:x:9:9:::\n",
		Group:  "a:x:1000:\nb:x:1600:\nsame:x:8:\nnew:x:9:\n",
	}
	want := IDs{Users: map[int]int{1500: 1000}, Groups: map[int]int{1500: 1000}} // alias keeps the files of 1600
	if d := cmp.Diff(want, before.Renumbered(then)); d != "" {
		t.Errorf("mismatch (-want +got):\n%s", d)
	}
}

func TestDBSeesChanges(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	db := NewDB(dir)
	if _, ok := db.ByName("alice"); ok {
		t.Error("a user was found in a missing file")
	}
	write("passwd", debianPasswd)
	write("group", debianGroup+"sudo:x:27:alice,bob\nkvm:x:103:alice\n")
	if _, ok := db.ByName("alice"); ok {
		t.Error("alice was found before she was added")
	}
	write("passwd", debianPasswd+"alice:x:1000:1000::/home/alice:/bin/sh\n")
	alice, ok := db.ByUID(1000)
	if !ok || alice.Name != "alice" {
		t.Fatalf("ByUID(1000) = %v, %v", alice, ok)
	}
	if got, want := db.Groups(alice), []int{1000, 27, 103}; !slices.Equal(got, want) {
		t.Errorf("Groups = %v, want %v", got, want)
	}
}

func FuzzEnsureKeepsOtherAccounts(f *testing.F) {
	f.Add(debianPasswd, debianGroup)
	f.Add("alice:x:1:1:::\nalice:x:1000:2:::\n", "alice:x:4294967295:\n::::")
	f.Add("ubuntu:x:1000:1000:Ubuntu:/home/ubuntu:/bin/bash", "+\n")
	f.Fuzz(func(t *testing.T, passwd, group string) {
		want := User{Name: "alice", UID: 1000, GID: 1000, Home: "/home/alice", Shell: "/bin/sh"}
		got, user, err := Files{Passwd: passwd, Group: group}.Ensure(want)
		if old, _ := find(ParsePasswd(passwd), "alice"); old.Name != "" && reserved(old) && (old.UID != 1000 || old.GID != 1000) {
			if err == nil {
				t.Errorf("an account of the system was taken: %+v", old)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if u, ok := find(ParsePasswd(got.Passwd), "alice"); !ok || u != user || u.UID != 1000 || u.GID != 1000 {
			t.Errorf("alice = %+v (%v), announced as %+v", u, ok, user)
		}
		before := slices.DeleteFunc(splitLines(passwd), func(l string) bool { return strings.HasPrefix(l, "alice:") })
		after := slices.DeleteFunc(splitLines(got.Passwd), func(l string) bool { return strings.HasPrefix(l, "alice:") })
		if !slices.Equal(before, after) {
			t.Errorf("foreign lines changed:\n%q\n%q", before, after)
		}
		again, _, _ := got.Ensure(want)
		if again != got {
			t.Errorf("not idempotent: %q then %q", got, again)
		}
	})
}
