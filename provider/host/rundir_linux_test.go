package host

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stead-vm/stead/provider/machine"
)

func TestOnlyALingeringUsersDirectoryLasts(t *testing.T) {
	lingering := t.TempDir()
	if err := os.WriteFile(filepath.Join(lingering, "ada"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ada, bob := machine.User{Name: "ada", UID: 1000}, machine.User{Name: "bob", UID: 1001}
	tests := map[string]struct {
		dir  string
		user machine.User
		want string
	}{
		"a user who lingers":            {"/run/user/1000", ada, "/run/user/1000"},
		"a user who does not":           {"/run/user/1001", bob, ""},
		"another user's, as after su":   {"/run/user/1001", ada, ""},
		"a directory of something else": {"/tmp/xdg", ada, ""},
		"no directory":                  {"", ada, ""},
		"an id without an account":      {"/run/user/1002", machine.User{UID: 1002}, ""},
	}
	for name, tt := range tests {
		if got := lasting(tt.dir, tt.user, lingering); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
