package bundle

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/stead-vm/stead/provider/lock"
	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/space"
)

// Locks are the locks of the machines of a state directory, and of the projects that own them.
type Locks struct{ store *Store }

// Locks returns the locks of the store's machines and projects.
func (s *Store) Locks() Locks { return Locks{s} }

// Machine locks a machine and removes what killed commands left behind. doing is shown to
// commands that wait: "creating".
func (l Locks) Machine(ctx context.Context, id, doing string) (unlock func(), err error) {
	if !machine.ValidID(id) {
		return nil, &machine.InvalidIDError{ID: id}
	}
	if unlock, err = l.store.locker.Acquire(ctx, l.store.machineLock(id), doing+" "+id); err != nil {
		return nil, err
	}
	if err := l.store.sweep(id); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// Existing is Machine for a machine that must exist and have the expected identity.
func (l Locks) Existing(ctx context.Context, id, doing string, expect *machine.Identity) (unlock func(), err error) {
	if expect == nil {
		if _, err := l.store.Existing(id); err != nil {
			return nil, err
		}
	}
	if unlock, err = l.Machine(ctx, id, doing); err != nil {
		return nil, err
	}
	if err := l.store.Expect(id, expect); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// Supervise takes the lock that a machine's supervisor holds as long as it lives, and waits for
// it until ctx ends.
func (l Locks) Supervise(ctx context.Context, id string) (unlock func(), err error) {
	return l.store.locker.Keep(ctx, l.store.Bundle(id).Supervisor())
}

// Both locks two machines. It locks them in the order of their names, so that two callers
// cannot deadlock.
func (l Locks) Both(ctx context.Context, a, b, doing string) (unlock func(), err error) {
	if a == b {
		return nil, fmt.Errorf("%s machine %q: both names are the same", doing, a)
	}
	first, err := l.Machine(ctx, min(a, b), doing)
	if err != nil {
		return nil, err
	}
	second, err := l.Machine(ctx, max(a, b), doing)
	if err != nil {
		first()
		return nil, err
	}
	return func() { second(); first() }, nil
}

// machineLock is outside of the bundle, because it outlives replacing and deleting it.
func (s *Store) machineLock(id string) lock.File {
	return lock.File{Path: filepath.Join(s.dir(), "."+id+".lock"), What: "machine " + id + " is being changed"}
}

// Project locks a project, named by its file, for a command that plans and changes its
// machines. It removes what killed commands left behind.
func (l Locks) Project(ctx context.Context, file string) (unlock func(), err error) {
	f := l.store.projectLock(file)
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o700); err != nil {
		return nil, space.Explain(err, l.store.home)
	}
	if unlock, err = l.store.locker.Acquire(ctx, f, ""); err != nil {
		return nil, err
	}
	if err := l.store.sweep(""); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

func (s *Store) projectLock(file string) lock.File {
	return lock.File{Path: projectPath(s.home, file, ".lock"), What: "the project of " + file + " is being changed"}
}

// Watch locks a project, named by its file, against other watches: two would do everything
// twice. Other commands may change the project.
func (l Locks) Watch(ctx context.Context, file string) (unlock func(), err error) {
	f := lock.File{Path: projectPath(l.store.home, file, ".watch.lock"), What: file + " is being watched"}
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o700); err != nil {
		return nil, space.Explain(err, l.store.home)
	}
	return l.store.locker.AcquireNow(ctx, f)
}

// ProjectHolder returns the process that holds the lock of a project, if one does.
func (l Locks) ProjectHolder(file string) (_ lock.Holder, held bool) {
	return l.store.projectLock(file).Holder()
}
