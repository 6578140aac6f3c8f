package local

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stead-vm/stead/provider/bundle"
	"github.com/stead-vm/stead/provider/bundle/bundletest"

	"github.com/stead-vm/stead/provider/machine"
)

// changingCalls are the calls that change an existing machine.
var changingCalls = map[string]func(*Provider, *testing.T, machine.Spec, *machine.Identity) error{
	"configure": func(p *Provider, t *testing.T, s machine.Spec, i *machine.Identity) error {
		return p.Configure(t.Context(), s, i)
	},
	"replace": func(p *Provider, t *testing.T, s machine.Spec, i *machine.Identity) error {
		return p.Replace(t.Context(), s, i, nil)
	},
	"repair": func(p *Provider, t *testing.T, s machine.Spec, i *machine.Identity) error {
		return p.Repair(t.Context(), s, i, nil)
	},
	"delete": func(p *Provider, t *testing.T, s machine.Spec, i *machine.Identity) error {
		return p.Delete(t.Context(), s.ID, i)
	},
	"move": func(p *Provider, t *testing.T, s machine.Spec, i *machine.Identity) error {
		return p.Move(t.Context(), s.ID, "new", i)
	},
}

func TestChangedMachineIsLeftAlone(t *testing.T) {
	tests := map[string]struct {
		meanwhile func(r *bundle.Record)
		says      string
	}{
		"created again":                    {func(r *bundle.Record) { r.CreatedDate = r.CreatedDate.Add(time.Second) }, "created again"},
		"created again from another image": {func(r *bundle.Record) { r.Configuration.Image.Digest = "sha256:other" }, "created again"},
		"taken over":                       {func(r *bundle.Record) { r.Stead.Project = "q" }, "taken over by project q"},
		"without a project":                {func(r *bundle.Record) { r.Stead.Project, r.Stead.File = "", "" }, "changed"},
	}
	p := newProvider(t)
	s := tiny(t, "1")
	for name, tt := range tests {
		for call, change := range changingCalls {
			t.Run(name+", "+call, func(t *testing.T) {
				if err := p.Delete(t.Context(), s.ID, nil); err != nil {
					t.Fatal(err)
				}
				if err := p.Create(t.Context(), s, nil); err != nil {
					t.Fatal(err)
				}
				planned, err := p.Machines.Get(t.Context(), s.ID)
				if err != nil {
					t.Fatal(err)
				}
				b := p.Bundles.Bundle(s.ID)
				r, err := b.Record()
				if err != nil {
					t.Fatal(err)
				}
				tt.meanwhile(&r)
				if err := b.WriteRecord(r); err != nil {
					t.Fatal(err)
				}
				found, err := p.Machines.Get(t.Context(), s.ID)
				if err != nil {
					t.Fatal(err)
				}
				var changed *machine.ChangedError
				if err := change(p, t, s, planned.Identity()); !errors.As(err, &changed) || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("got %v", err)
				}
				if now, err := p.Machines.Get(t.Context(), s.ID); err != nil || *now.Identity() != *found.Identity() || now.State != machine.Stopped {
					t.Errorf("afterwards, the machine is %+v, %v", now, err)
				}
				if left := bundletest.Names(t, p.Bundles); left != s.ID {
					t.Errorf("files are %s", left)
				}
			})
		}
	}
}

func TestPlannedMachineIsChanged(t *testing.T) {
	for call, change := range changingCalls {
		t.Run(call, func(t *testing.T) {
			p := newProvider(t)
			s := tiny(t, "1")
			if err := p.Create(t.Context(), s, nil); err != nil {
				t.Fatal(err)
			}
			planned, err := p.Machines.Get(t.Context(), s.ID)
			if err != nil {
				t.Fatal(err)
			}
			if err := change(p, t, s, planned.Identity()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRemovedMachineIsReported(t *testing.T) {
	p := newProvider(t)
	for call, change := range changingCalls {
		err := change(p, t, tiny(t, "1"), &machine.Identity{Digest: "sha256:1"})
		var changed *machine.ChangedError
		if gone := call == "delete"; gone && err != nil || !gone && (!errors.As(err, &changed) || changed.What != "was removed") {
			t.Errorf("%s gave %v", call, err)
		}
	}
	if left := bundletest.Names(t, p.Bundles); left != "" {
		t.Errorf("files are %s", left)
	}
}
