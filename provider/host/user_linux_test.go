package host

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stead-vm/stead/provider/machine"
)

// A release is linked statically and does not see accounts of LDAP itself.
func TestTheIDDecidesWhoTheUserIs(t *testing.T) {
	const unused = 1999999999 // no account of this host
	for name, tt := range map[string]struct {
		uid    int
		getent string // what the name service prints; empty: it knows no such account
		want   machine.User
	}{
		"root":                               {0, "", machine.User{Name: "root"}},
		"no account":                         {unused, "", machine.User{UID: unused, GID: 7}},
		"an account of the name service":     {unused, "jdoe:*:1999999999:100:Jane:/home/jdoe:/bin/zsh", machine.User{Name: "jdoe", UID: unused, GID: 100}},
		"a name of a domain is not adjusted": {unused, `CORP\jdoe:*:1999999999:100::/:/bin/sh`, machine.User{Name: `CORP\jdoe`, UID: unused, GID: 100}},
		"another account is not believed":    {unused, "root:x:0:0:root:/root:/bin/sh", machine.User{UID: unused, GID: 7}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			script := "#!/bin/sh\nexit 2\n"
			if tt.getent != "" {
				script = "#!/bin/sh\ncat <<'END'\n" + tt.getent + "\nEND\n"
			}
			if err := os.WriteFile(filepath.Join(dir, "getent"), []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", dir+":/usr/bin:/bin")
			t.Setenv("USER", "root")
			t.Setenv("HOME", "/root")
			gid := 7
			if tt.uid == 0 {
				gid = 0
			}
			if got := userOf(tt.uid, gid); got != tt.want {
				t.Errorf("user is %+v, want %+v", got, tt.want)
			}
		})
	}
}
