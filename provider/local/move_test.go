package local

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stead-vm/stead/provider/bundle"
	"github.com/stead-vm/stead/provider/bundle/bundletest"
	"github.com/stead-vm/stead/provider/machine"

	"github.com/gofrs/flock"
)

// withMarkedDev returns a provider with the machine "dev", whose disk has a mark at 63 MiB.
func withMarkedDev(t *testing.T) *Provider {
	t.Helper()
	p := newProvider(t)
	if err := p.Create(t.Context(), tiny(t, "1"), nil); err != nil {
		t.Fatal(err)
	}
	bundletest.Mark(t, p.Bundles.Bundle("dev").Path(bundle.DiskFile))
	return p
}

// checkMarkedDisk checks that a machine is stopped and has the marked disk.
func checkMarkedDisk(t *testing.T, p *Provider, id string) machine.Machine {
	t.Helper()
	m, err := p.Machines.Get(t.Context(), id)
	if err != nil || m.State != machine.Stopped || m.ID != id {
		t.Fatalf("machine %s is %v (%s), %v", id, m.State, m.Problem, err)
	}
	bundletest.CheckMarked(t, p.Bundles.Bundle(id).Path(bundle.DiskFile))
	return m
}

// pretendRunning makes a machine appear to have a supervisor until the test ends.
func pretendRunning(t *testing.T, p *Provider, id string) {
	t.Helper()
	l := flock.New(p.Bundles.Bundle(id).Path("supervisor.lock"))
	if ok, err := l.TryLock(); err != nil || !ok {
		t.Fatal(ok, err)
	}
	t.Cleanup(func() { l.Unlock() })
}

func TestMove(t *testing.T) {
	p := withMarkedDev(t)
	before := checkMarkedDisk(t, p, "dev")
	for range 2 { // it is idempotent
		if err := p.Move(t.Context(), "dev", "box", nil); err != nil {
			t.Fatal(err)
		}
		after := checkMarkedDisk(t, p, "box")
		if after.Owner != before.Owner || after.Digest != before.Digest || !after.Created.Equal(before.Created) || !after.Default {
			t.Errorf("dev was %+v, box is %+v", before, after)
		}
		if r, err := p.Bundles.Bundle("box").Record(); err != nil || r.Configuration.ID != "box" || r.Stead.Moving != "" {
			t.Errorf("the record is %+v, %v", r, err)
		}
	}
	if left := bundletest.Names(t, p.Bundles); left != "box" {
		t.Errorf("files are %s", left)
	}
}

// announce is the first step of a move from dev to box, writeDefault the second.
func announce(p *Provider) error {
	b := p.Bundles.Bundle("dev")
	r, err := b.Record()
	if err != nil {
		return err
	}
	r.Stead.Moving = "box"
	return b.WriteRecord(r)
}

func writeDefault(p *Provider, id string) error {
	return os.WriteFile(filepath.Join(p.Bundles.Home(), "state.json"), []byte(`{"defaultMachine": "`+id+`"}`), 0o600)
}

// A move has three steps. After an interruption the machine is complete under one of its names,
// and the next move finishes it.
func TestInterruptedMove(t *testing.T) {
	cuts := map[string]struct {
		until func(p *Provider) error
		name  string // at that moment
	}{
		"before the directory is renamed": {func(p *Provider) error { return announce(p) }, "dev"},
		"between directory and record": {func(p *Provider) error {
			return errors.Join(announce(p), writeDefault(p, "box"), os.Rename(p.Bundles.Bundle("dev").Dir, p.Bundles.Bundle("box").Dir))
		}, "box"},
		"between default and directory": {func(p *Provider) error {
			return errors.Join(announce(p), writeDefault(p, "box"))
		}, "dev"},
	}
	for name, cut := range cuts {
		t.Run(name, func(t *testing.T) {
			p := withMarkedDev(t)
			if err := cut.until(p); err != nil {
				t.Fatal(err)
			}
			if m := checkMarkedDisk(t, p, cut.name); m.Owner != tiny(t, "1").Owner {
				t.Errorf("after the interruption it belongs to %+v", m.Owner)
			}
			if err := p.Move(t.Context(), "dev", "box", nil); err != nil {
				t.Fatal(err)
			}
			if m := checkMarkedDisk(t, p, "box"); !m.Default {
				t.Error("the machine is no longer the default")
			}
		})
	}
}

func TestCopiedBundleIsNotAMove(t *testing.T) {
	p := withMarkedDev(t)
	if err := os.CopyFS(filepath.Join(filepath.Join(p.Bundles.Home(), "machines"), "copy"), os.DirFS(p.Bundles.Bundle("dev").Dir)); err != nil {
		t.Fatal(err)
	}
	if m, err := p.Machines.Get(t.Context(), "copy"); err != nil || m.State != machine.Broken || m.Owner != (machine.Owner{}) {
		t.Errorf("a copy of dev is %+v, %v", m, err)
	}
}

func TestMoveFails(t *testing.T) {
	p := withMarkedDev(t)
	other := tiny(t, "2")
	other.ID = "other"
	if err := p.Create(t.Context(), other, nil); err != nil {
		t.Fatal(err)
	}
	var exists *machine.ExistsError
	if err := p.Move(t.Context(), "dev", "other", nil); !errors.As(err, &exists) {
		t.Errorf("to a name that is taken: %v", err)
	}
	var missing *machine.NotFoundError
	if err := p.Move(t.Context(), "missing", "box", nil); !errors.As(err, &missing) {
		t.Errorf("of a missing machine: %v", err)
	}
	if err := p.Move(t.Context(), "dev", "dev", nil); err == nil {
		t.Error("to its own name: no error")
	}
	var invalid *machine.InvalidIDError
	if err := p.Move(t.Context(), "dev", "../x", nil); !errors.As(err, &invalid) {
		t.Errorf("to an invalid name: %v", err)
	}
	pretendRunning(t, p, "dev")
	var running *machine.RunningError
	if err := p.Move(t.Context(), "dev", "box", nil); !errors.As(err, &running) || running.Remedy() == "" {
		t.Errorf("of a running machine: %v", err)
	}
	if left := bundletest.Names(t, p.Bundles); left != "dev other" {
		t.Errorf("files are %s", left)
	}
}

func TestMoveOfABrokenMachine(t *testing.T) {
	p := withMarkedDev(t)
	if err := os.WriteFile(p.Bundles.Bundle("dev").Path(bundle.ConfigFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.Move(t.Context(), "dev", "box", nil); err != nil {
		t.Fatal(err)
	}
	s := tiny(t, "1")
	s.ID = "box"
	if err := p.Repair(t.Context(), s, nil, nil); err != nil {
		t.Fatal(err)
	}
	checkMarkedDisk(t, p, "box")
}
