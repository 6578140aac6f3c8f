package local

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stead-vm/stead/provider/bundle"
	"github.com/stead-vm/stead/provider/machine"
)

func TestAdopt(t *testing.T) {
	us := machine.Owner{Project: "us", File: filepath.Join(t.TempDir(), "machines.hcl")}
	theirs := filepath.Join(t.TempDir(), "machines.hcl")
	if err := os.WriteFile(theirs, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		was   machine.Owner
		force bool
		ok    bool
	}{
		"no project":                   {machine.Owner{}, false, true},
		"already ours":                 {us, false, true},
		"our file under a former name": {machine.Owner{Project: "before", File: us.File}, false, true},
		"a project whose file is gone": {machine.Owner{Project: "gone", File: "/nonexistent/machines.hcl"}, false, true},
		"another project":              {machine.Owner{Project: "them", File: theirs}, false, false},
		"another project, with force":  {machine.Owner{Project: "them", File: theirs}, true, true},
		"another copy of this project": {machine.Owner{Project: "us", File: theirs}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			s := tiny(t, "1")
			s.Owner = tt.was
			if err := p.Create(t.Context(), s, nil); err != nil {
				t.Fatal(err)
			}
			before, err := p.Machines.Get(t.Context(), "dev")
			if err != nil {
				t.Fatal(err)
			}
			pretendRunning(t, p, "dev") // adopting works while it runs
			err = p.Adopt(t.Context(), "dev", us, tt.force)
			var owned *machine.OwnedError
			if tt.ok != (err == nil) || !tt.ok && (!errors.As(err, &owned) || !strings.Contains(err.Error(), theirs) || !strings.Contains(owned.Remedy(), "--force")) {
				t.Fatalf("Adopt = %v", err)
			}
			want := us
			if !tt.ok {
				want = tt.was
			}
			m, err := p.Machines.Get(t.Context(), "dev")
			if err != nil || m.Owner != want || m.Digest != before.Digest || !m.Created.Equal(before.Created) || m.CPUs != before.CPUs {
				t.Errorf("the machine is %+v, %v; before: %+v", m, err, before)
			}
		})
	}
}

func TestAdoptOfMissingAndUnreadableMachines(t *testing.T) {
	p := newProvider(t)
	var missing *machine.NotFoundError
	if err := p.Adopt(t.Context(), "dev", machine.Owner{Project: "us", File: "/f"}, true); !errors.As(err, &missing) {
		t.Errorf("missing: %v", err)
	}
	if err := p.Create(t.Context(), tiny(t, "1"), nil); err != nil {
		t.Fatal(err)
	}
	path := p.Bundles.Bundle("dev").Path(bundle.ConfigFile)
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.Adopt(t.Context(), "dev", machine.Owner{Project: "us", File: "/f"}, true); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a broken record: %v", err)
	}
}
