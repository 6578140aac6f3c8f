package provider

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAdoptTakesWhatNobodyElseNeeds(t *testing.T) {
	us := Owner{Project: "us", File: filepath.Join(t.TempDir(), "machines.hcl")}
	theirs := filepath.Join(t.TempDir(), "machines.hcl")
	if err := os.WriteFile(theirs, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		was   Owner
		force bool
		ok    bool
	}{
		"a person's":                                       {Owner{}, false, true},
		"ours already":                                     {us, false, true},
		"our file's under a former name":                   {Owner{"before", us.File}, false, true},
		"a project's whose file is gone":                   {Owner{"gone", "/nonexistent/machines.hcl"}, false, true},
		"another project's":                                {Owner{"them", theirs}, false, false},
		"another project's, by force":                      {Owner{"them", theirs}, true, true},
		"another copy's of this project, as long it lives": {Owner{"us", theirs}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			s := tiny(t, "1")
			s.Owner = tt.was
			if err := p.Create(t.Context(), s, nil); err != nil {
				t.Fatal(err)
			}
			before, err := p.Machine(t.Context(), "dev")
			if err != nil {
				t.Fatal(err)
			}
			runs(t, p, "dev") // nothing has to stop for it
			err = p.Adopt(t.Context(), "dev", us, tt.force)
			var owned *OwnedError
			if tt.ok != (err == nil) || !tt.ok && (!errors.As(err, &owned) || !strings.Contains(err.Error(), theirs) || !strings.Contains(owned.Remedy(), "--force")) {
				t.Fatalf("Adopt = %v", err)
			}
			want := us
			if !tt.ok {
				want = tt.was
			}
			m, err := p.Machine(t.Context(), "dev")
			if err != nil || m.Owner != want || m.Digest != before.Digest || !m.Created.Equal(before.Created) || m.CPUs != before.CPUs {
				t.Errorf("it is %+v, %v; it was %+v", m, err, before)
			}
		})
	}
}

func TestAdoptRefusesWhatCannotBeRead(t *testing.T) {
	p := newProvider(t)
	var missing *NotFoundError
	if err := p.Adopt(t.Context(), "dev", Owner{"us", "/f"}, true); !errors.As(err, &missing) {
		t.Errorf("nobody: %v", err)
	}
	if err := p.Create(t.Context(), tiny(t, "1"), nil); err != nil {
		t.Fatal(err)
	}
	path := p.bundle("dev").path(configFile)
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.Adopt(t.Context(), "dev", Owner{"us", "/f"}, true); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a broken record: %v", err)
	}
}
