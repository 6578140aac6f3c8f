// Package reconcile plans how the machines of a host become those that a project declares,
// and applies plans through a [Provider].
//
// Planning is pure: [Diff] compares the declared machines with the existing ones, so every
// rule is a row of a table test, and a plan can be shown and refused before anything
// changes. Everything that blocks or fails is behind [Provider].
//
// The engine is level-based: a plan depends on the current state, never on what an earlier
// run intended. After any interruption, planning and applying again finishes the work.
package reconcile

import (
	"context"

	"github.com/stead-vm/stead/provider/machine"
)

// Provider changes the machines of a host. Its methods are called from several goroutines,
// but for each machine only one at a time. When ctx ends, a method either finishes or undoes
// what it began: it never leaves a half-made machine.
//
// Other commands may remove, recreate or adopt a machine after the plan is made. A method
// that takes the identity of the planned machine compares it while it holds the machine's
// lock. If they differ, it changes nothing and returns a [*machine.ChangedError].
type Provider interface {
	// Check returns an error if this host cannot create or run s. It changes nothing.
	// Apply checks every machine of the plan before the first change.
	Check(ctx context.Context, s machine.Spec) error
	// Create creates a machine that does not exist and leaves it stopped. If it fails,
	// nothing of the machine is left.
	Create(ctx context.Context, s machine.Spec) error
	// Configure writes the settings, the image reference and the owner of s to an
	// existing machine's files. A running machine keeps the settings that it was booted
	// with, and a disk grows at the next start. Idempotent.
	Configure(ctx context.Context, s machine.Spec, expect *machine.Identity) error
	// ApplyServices applies the services in a running machine's files to its guest. Once
	// the guest has applied them, it records them in the booted settings, which later plans
	// compare. Idempotent.
	ApplyServices(ctx context.Context, id string) error
	// Start boots a machine with the settings in its files and returns when it is ready. It
	// waits for a booting machine and does nothing to a running one.
	Start(ctx context.Context, id string) error
	// Stop shuts a machine down, even if its files cannot be read, and returns when it is
	// off. It does nothing to a stopped machine.
	Stop(ctx context.Context, id string) error
	// Replace creates the machine again from s, with a new disk, and leaves it stopped.
	// The old machine, if it runs, keeps running until the new one is complete, so a
	// failure loses nothing.
	Replace(ctx context.Context, s machine.Spec, expect *machine.Identity) error
	// Repair writes the files of a broken machine again from s and leaves it stopped. It
	// keeps the disk, at its current size if that is larger than in s, and creates one only
	// if there is none. If the disk cannot be kept, Repair fails and leaves it as it is.
	Repair(ctx context.Context, s machine.Spec, expect *machine.Identity) error
	// Move renames a stopped machine and keeps its disk and everything else. It does
	// nothing if only the new name exists. Idempotent.
	Move(ctx context.Context, from, to string, expect *machine.Identity) error
	// Note records how an apply left a machine, or, if s is nil, that the project has no
	// machine of this name any more. Later plans use the record only to report drift.
	Note(ctx context.Context, id string, s *machine.Spec, stopped bool) error
	// Delete stops a machine and removes it with its disk. It does nothing if there is no
	// such machine.
	Delete(ctx context.Context, id string, expect *machine.Identity) error
}
