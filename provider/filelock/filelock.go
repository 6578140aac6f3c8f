// Package filelock takes locks between the processes that share a cache, and says what it waits
// for. The locks of machines and projects, which name their holders and can time out, are those
// of package lock.
//
// The kernel releases the lock of a dead process, so lock files need no cleanup.
package filelock

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

const (
	// grace is how long to wait before the user sees what for: most locks are held for a moment.
	grace = 100 * time.Millisecond
	poll  = 50 * time.Millisecond
)

// File is a lock file.
type File struct {
	Path string
	Log  *slog.Logger // default: discard
}

// Lock waits until no one else holds the lock, or until ctx ends. It logs once that it waits for
// another process. doing says what the holders of the lock do: "downloads a kernel".
//
// A wait for this process itself is not logged: its progress is seen anyway.
func (f File) Lock(ctx context.Context, doing string) (unlock func(), err error) {
	fl := f.flock()
	if err := f.wait(ctx, fl, fl.TryLock, doing); err != nil {
		return nil, err
	}
	return f.sign(fl), nil
}

// RLock is Lock for holders that can share the lock.
func (f File) RLock(ctx context.Context, doing string) (unlock func(), err error) {
	fl := f.flock()
	if err := f.wait(ctx, fl, fl.TryRLock, doing); err != nil {
		return nil, err
	}
	return func() { f.unlock(fl) }, nil
}

// TryLock takes the lock if no one else holds it.
func (f File) TryLock() (unlock func(), ok bool) {
	fl := f.flock()
	if ok, err := fl.TryLock(); err != nil || !ok {
		_ = fl.Close()
		return nil, false
	}
	return f.sign(fl), true
}

func (f File) flock() *flock.Flock { return flock.New(f.Path, flock.SetPermissions(0o600)) }

func (f File) log() *slog.Logger { return cmp.Or(f.Log, slog.New(slog.DiscardHandler)) }

func (f File) wait(ctx context.Context, fl *flock.Flock, try func() (bool, error), doing string) (err error) {
	defer func() {
		if err != nil {
			_ = fl.Close()
		}
	}()
	told := false
	for begun := time.Now(); ; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if ok, err := try(); err != nil || ok {
			return err
		}
		if !told && time.Since(begun) >= grace {
			told = f.tell(doing)
		}
		select {
		case <-ctx.Done():
		case <-time.After(poll):
		}
	}
}

// tell logs what is waited for, unless this process holds the lock.
func (f File) tell(doing string) bool {
	text := "waiting for another stead process that " + doing
	switch pid := f.holder(); pid {
	case os.Getpid():
		return false
	case 0:
		f.log().Warn(text)
	default:
		f.log().Warn(text, "pid", pid)
	}
	return true
}

// sign writes the process to the locked file, and returns the function that undoes both. If the
// disk is full, the lock is held without a name.
func (f File) sign(fl *flock.Flock) (unlock func()) {
	_ = os.WriteFile(f.Path, strconv.AppendInt(nil, int64(os.Getpid()), 10), 0o600)
	return func() {
		_ = os.Truncate(f.Path, 0)
		f.unlock(fl)
	}
}

// holder returns the process that holds the lock alone, or 0 if that is unknown. A killed process
// leaves its text behind.
func (f File) holder() int {
	text, err := os.ReadFile(f.Path)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 0 || errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return 0
	}
	return pid
}

// unlock only logs an error: the lock ends with the process anyway.
func (f File) unlock(fl *flock.Flock) {
	if err := fl.Unlock(); err != nil {
		f.log().Warn("cannot unlock", "path", f.Path, "err", err)
	}
}
