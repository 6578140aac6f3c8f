package reconcile_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stead-vm/stead/config"
	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/reconcile"
)

func TestUserOfAMachine(t *testing.T) {
	for name, tt := range map[string]struct {
		host     string // the name of the host's user
		declared string
		exists   string // the name in an existing machine
		want     string // empty: an error
	}{
		"the host's":                                {host: "ada", want: "ada"},
		"the declared name":                         {host: "ada", declared: "dev", want: "dev"},
		"the declared name, whatever exists":        {host: "ada", declared: "dev", exists: "bob", want: "dev"},
		"without a name, the host's again":          {host: "ada", exists: "dev", want: "ada"},
		"a name that no machine can have":           {host: `CORP\jdoe`},
		"another name instead":                      {host: `CORP\jdoe`, declared: "jdoe", want: "jdoe"},
		"the existing one if the host's is invalid": {host: `CORP\jdoe`, exists: "jdoe", want: "jdoe"},
		"no account":                                {},
		"the existing one without an account":       {exists: "jdoe", want: "jdoe"},
		"a root who is not root":                    {host: "root"},
	} {
		t.Run(name, func(t *testing.T) {
			d := defaults()
			d.User.Name = tt.host
			if tt.exists != "" {
				d.Found = []machine.Machine{{Spec: machine.Spec{ID: "dev", User: machine.User{Name: tt.exists, UID: 1000, GID: 1000}, Owner: acme}}}
			}
			p := &config.Project{Name: acme.Project, File: acme.File, Machines: []config.Machine{{
				Name: "dev", Image: "debian:12", User: tt.declared, Pos: config.Position{File: "machines.hcl", Line: 3},
			}}}
			goals, err := reconcile.Desired(p, d)
			if tt.want != "" {
				if err != nil || goals[0].User.Name != tt.want || goals[0].User.UID != 1000 {
					t.Errorf("user is %+v, error %v; want %s", goals, err, tt.want)
				}
				return
			}
			var bad *machine.UserError
			if !errors.As(err, &bad) || !strings.HasPrefix(err.Error(), `machines.hcl:3: user of machine "dev": `) {
				t.Errorf("error is %v", err)
			}
		})
	}
}
