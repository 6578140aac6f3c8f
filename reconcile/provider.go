// Package reconcile decides what must change and drives a provider to do it.
//
// Planning is pure: [Diff] compares what a project wants with what was found,
// so that every rule is a row of a table test and a plan can be shown, counted
// and refused before anything happens. All that blocks or fails is behind
// [Provider].
//
// The engine is level-based. A plan is made from what is there, never from what
// an earlier run meant to do, so running apply again is the way out of every
// interruption.
package reconcile

import (
	"context"

	"github.com/stead-vm/stead/provider/machine"
)

// Provider is all that the engine asks of the host, declared here by its caller.
// Its methods are called from several goroutines, never twice at the same time
// for one machine. When ctx ends, a method either finishes or undoes what it
// began: no half-made machine stays behind.
//
// Between a plan and its steps somebody else may have removed, made anew or taken over a
// machine. A method that is given the identity of the planned machine looks again, when
// nobody else can change it any more, and fails with a [*machine.ChangedError], having
// done nothing, if there is another one.
type Provider interface {
	// Check tells whether this host can make and run s. It changes nothing, and
	// Apply asks it about the whole plan before the first change.
	Check(ctx context.Context, s machine.Spec) error
	// Create makes a machine that is not there yet and leaves it stopped. When it
	// fails nothing of the machine is left.
	Create(ctx context.Context, s machine.Spec) error
	// Configure writes the settings, the image reference and the owner of s to an
	// existing machine's files. It does nothing to a running machine, whose booted
	// settings stay what they are. A disk grows at the next start. Idempotent.
	Configure(ctx context.Context, s machine.Spec, expect *machine.Identity) error
	// ApplyServices makes a running machine's services those of its files, and notes
	// them in its booted settings once the guest has taken them: that is how a plan
	// knows that the work is done. Idempotent.
	ApplyServices(ctx context.Context, id string) error
	// Start boots a machine with its files and returns when it is ready. One that
	// boots already is waited for, one that runs is left alone.
	Start(ctx context.Context, id string) error
	// Stop shuts a machine down and returns when it is gone, also one whose files cannot
	// be read. A stopped one is left alone.
	Stop(ctx context.Context, id string) error
	// Replace makes the machine anew from s, with a new disk, and leaves it stopped.
	// The old one stays, running if it ran, until the new one is whole: a failure
	// loses nothing.
	Replace(ctx context.Context, s machine.Spec, expect *machine.Identity) error
	// Repair writes the files of a broken machine anew from s and leaves it stopped.
	// Its disk is kept, at its size when that is larger than s wants; only when there
	// is none is one made. A disk that cannot be kept is an error, never a loss.
	Repair(ctx context.Context, s machine.Spec, expect *machine.Identity) error
	// Move gives a stopped machine another name; its disk, and all else, is kept. It
	// does nothing when only the new name is there. Idempotent.
	Move(ctx context.Context, from, to string, expect *machine.Identity) error
	// Note remembers how an apply has left a machine of its project, or, with nil, that
	// it has none of this name any more. What is noted decides nothing: it lets the next
	// plan tell what somebody changed in between.
	Note(ctx context.Context, id string, s *machine.Spec, stopped bool) error
	// Delete stops a machine and removes it with its disk. An absent one is left
	// alone.
	Delete(ctx context.Context, id string, expect *machine.Identity) error
}
