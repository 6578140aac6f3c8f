package machine

import (
	"errors"
	"strings"
	"testing"
)

func TestUsersThatNoMachineCanHave(t *testing.T) {
	for name, tt := range map[string]struct {
		user        User
		why, remedy string // empty: valid
	}{
		"an ordinary user":         {User{"ada", 1000, 1000}, "", ""},
		"root":                     {User{"root", 0, 0}, "", ""},
		"root, of an older record": {User{}, "", ""},
		"a name of a domain":       {User{`CORP\jdoe`, 1000, 1000}, `the user "CORP\\jdoe": a user name consists of at most 32`, `user = "jdoe"`},
		"a name with an umlaut":    {User{"jörg", 1000, 1000}, "at most 32 letters", "--user jorg"},
		"an id without an account": {User{"", 4242, 4242}, "has no name: your user id 4242 has no account", `user = "dev"`},
		"root with another id":     {User{"root", 4242, 4242}, "root has the user id 0 in every machine, but yours is 4242", `user = "dev"`},
		"another user with root's": {User{"ada", 0, 0}, "you are root on this host", "run stead as another user"},
	} {
		t.Run(name, func(t *testing.T) {
			err := tt.user.Check()
			var bad *UserError
			switch {
			case tt.why == "":
				if err != nil {
					t.Error(err)
				}
			case !errors.As(err, &bad) || !strings.Contains(err.Error(), tt.why) || !strings.Contains(bad.Remedy(), tt.remedy):
				t.Errorf("Check = %v", err)
			}
		})
	}
}
