//go:build linux

package agent

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/guest/agent/account"
)

func TestFilesFollowAnAccountThatGetsOtherIDs(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, who changes owners; CI also runs the tests as root")
	}
	root := tree(t, map[string]string{
		"etc/passwd": "root:x:0:0::/root:/bin/sh\ndev:x:1500:1501::/srv/dev:/bin/sh\nbob:x:1600:1501::/home/bob:/bin/sh\n",
		"etc/group":  "root:x:0:\ndev:x:1501:\n", "srv/dev/notes": "", "opt/tool": "", "opt/shared": "", "opt/other": "", "mnt/": "",
	})
	owners := map[string][2]int{
		"srv/dev": {1500, 1501}, "srv/dev/notes": {1500, 1501}, "opt/tool": {1500, 0}, "opt/shared": {1600, 1501}, "opt/other": {1600, 0},
	}
	for name, ids := range owners {
		if err := os.Chown(filepath.Join(root, name), ids[0], ids[1]); err != nil {
			t.Fatal(err)
		}
	}
	tool := filepath.Join(root, "opt/tool")
	if err := os.Chmod(tool, 0o755|fs.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	u, err := writeAccount(root, account.User{Name: "dev", UID: 4242, GID: 4243, Home: "/home/dev", Shell: "/bin/sh"})
	if err != nil || u.Home != "/srv/dev" {
		t.Fatal(u, err)
	}
	for name, want := range map[string][2]uint32{
		"srv/dev": {4242, 4243}, "srv/dev/notes": {4242, 4243}, "opt/tool": {4242, 0}, "opt/shared": {1600, 4243}, "opt/other": {1600, 0}, "etc/passwd": {0, 0},
	} {
		info, err := os.Stat(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if st := info.Sys().(*syscall.Stat_t); [2]uint32{st.Uid, st.Gid} != want {
			t.Errorf("%s belongs to %d:%d, want %v", name, st.Uid, st.Gid, want)
		}
	}
	if info, err := os.Stat(tool); err != nil || info.Mode()&fs.ModeSetuid == 0 {
		t.Errorf("the program lost its set-user-ID bit: %v, %v", info.Mode(), err)
	}
}

func TestAnAccountOfAServiceIsNotTouched(t *testing.T) {
	const passwd = "root:x:0:0::/root:/bin/sh\npostgres:x:105:110::/var/lib/postgresql:/bin/bash\n"
	root := tree(t, map[string]string{"etc/passwd": passwd, "etc/group": "root:x:0:\npostgres:x:110:\n"})
	for _, name := range []string{"postgres", "root"} {
		_, err := writeAccount(root, account.User{Name: name, UID: 4242, GID: 4242, Home: "/home/" + name, Shell: "/bin/sh"})
		var reserved *account.ReservedError
		if !errors.As(err, &reserved) || reserved.Name != name {
			t.Errorf("%s: %v", name, err)
		}
	}
	if text, _ := os.ReadFile(filepath.Join(root, "etc/passwd")); string(text) != passwd {
		t.Errorf("passwd is now\n%s", text)
	}
}

func TestTheUserHasTheHostsGroups(t *testing.T) {
	const group = "root:x:0:\naudio:x:29:bob\n"
	root := tree(t, map[string]string{"etc/group": group, "lib/": ""})
	etc, record := filepath.Join(root, "etc"), filepath.Join(root, "lib/groups.json")
	boot := func(user string, groups ...guest.Group) string {
		t.Helper()
		if err := ensureGroups(etc, record, guest.Boot{User: guest.User{Name: user, UID: 1000, GID: 1000}, Groups: groups}); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(etc, "group"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	team, sound := guest.Group{Name: "team", GID: 2000}, guest.Group{Name: "sound", GID: 29}
	for _, step := range []struct {
		name   string
		user   string
		groups []guest.Group
		want   string
	}{
		{"no groups", "ada", nil, group},
		{"two groups", "ada", []guest.Group{sound, team}, "root:x:0:\naudio:x:29:bob,ada\nteam:x:2000:ada\n"},
		{"the same", "ada", []guest.Group{sound, team}, "root:x:0:\naudio:x:29:bob,ada\nteam:x:2000:ada\n"},
		{"one was left", "ada", []guest.Group{team}, "root:x:0:\naudio:x:29:bob\nteam:x:2000:ada\n"},
		{"the user has another name", "dev", []guest.Group{team}, "root:x:0:\naudio:x:29:bob\nteam:x:2000:dev\n"},
	} {
		if got := boot(step.user, step.groups...); got != step.want {
			t.Errorf("%s: group is\n%s\nwant\n%s", step.name, got, step.want)
		}
	}
}
