// Package follow reports that files have changed.
//
// It is level-based like the engine that it serves: it says "look again" and not what
// happened, so lost, repeated and merged events are harmless. It uses the system's
// notifications (inotify, kqueue). Where these do not work, such as on remote file systems
// or beyond the limit on watches, it checks the files at intervals instead.
package follow

import (
	"cmp"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"sync"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

// DefaultInterval is how often files are checked where the system does not report changes.
const DefaultInterval = time.Second

const pollWarning = "checking files at intervals: the system does not report every change"

// Path is something to follow.
type Path struct {
	Name string // absolute path of a file or directory; it need not exist
	Tree bool   // for a directory: follow everything in it, but no symbolic links

	// Skip reports whether to ignore an entry of a tree, by its path relative to Name. The
	// contents of an ignored directory are ignored too. Default: ignore nothing.
	Skip func(rel string, dir bool) bool
}

// Options configure [New].
type Options struct {
	Changed  func()        // required; called after a change; must not block
	Poll     bool          // check at intervals even where the system reports changes
	Interval time.Duration // default: DefaultInterval
	Log      *slog.Logger  // default: discard
}

// Follower follows files until it is closed. It is safe for concurrent use.
type Follower struct {
	o      Options
	closed chan struct{}
	ended  sync.WaitGroup

	mu      sync.Mutex
	watcher *fsnotify.Watcher // nil: files are checked at intervals
	paths   []Path
	seen    *snapshot     // the last one
	took    time.Duration // for the last look
}

// New returns a Follower that follows nothing yet.
func New(o Options) *Follower {
	o.Interval = cmp.Or(o.Interval, DefaultInterval)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	f := &Follower{o: o, closed: make(chan struct{}), seen: newSnapshot(nil)}
	var events chan fsnotify.Event
	var errs chan error
	if !o.Poll {
		w, err := fsnotify.NewWatcher()
		if err == nil {
			f.watcher, events, errs = w, w.Events, w.Errors
		} else {
			f.o.Log.Warn(pollWarning, "err", err)
		}
	}
	f.ended.Go(func() { f.run(events, errs) })
	return f
}

// Close stops the Follower. Changed is not called after it returns.
func (f *Follower) Close() error {
	close(f.closed)
	f.ended.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.watcher == nil {
		return nil
	}
	return f.watcher.Close()
}

// Follow replaces the followed paths. Every change after it returns is reported, so a caller
// that reads the files only then misses none.
func (f *Follower) Follow(paths ...Path) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.paths = paths
	f.look()
}

// mostLooks limits the looks of one Follow while directories keep being moved.
const mostLooks = 5

// look updates the watches and the snapshot.
func (f *Follower) look() {
	began := time.Now()
	for again, n := true, 0; again && n < mostLooks; n++ {
		notified := f.watcher != nil
		now := newSnapshot(f.watchDir)
		now.addAll(f.paths, !notified)
		before := f.seen
		f.seen = now
		// Only another look shows what changed in a directory before it was watched.
		again = notified && (f.watcher == nil || now.hasNewDir(before))
		for dir := range before.dirs {
			if f.watcher != nil && !now.dirs[dir] {
				_ = f.watcher.Remove(dir) // fails if the directory, and so its watch, is gone
			}
		}
		again = again || f.missing()
	}
	f.took = time.Since(began)
}

// missing reports whether an existing directory is not watched. inotify keeps one watch for a
// renamed directory, under its old name, until that watch is removed.
func (f *Follower) missing() bool {
	if f.watcher == nil {
		return false
	}
	watched := map[string]bool{}
	for _, dir := range f.watcher.WatchList() {
		watched[dir] = true
	}
	for dir, there := range f.seen.dirs {
		if there && !watched[dir] {
			return true
		}
	}
	return false
}

// watchDir watches a directory, and reports whether the system reports its changes. It is
// called again for a known directory, because another one may have taken its place.
func (f *Follower) watchDir(dir string) bool {
	if f.watcher == nil {
		return false
	}
	if _, known := f.seen.dirs[dir]; !known && remote(dir) {
		f.poll("other hosts may change this file system", dir)
		return false
	}
	err := f.watcher.Add(dir)
	switch {
	case err == nil:
		return true
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ENOTDIR):
		// Once it can be read, an event in the parent directory shows it.
	default:
		f.poll(err.Error(), dir)
	}
	return false
}

// poll switches from notifications to checks at intervals.
func (f *Follower) poll(why, dir string) {
	f.o.Log.Warn(pollWarning, "dir", dir, "reason", why)
	_ = f.watcher.Close() // nothing is lost with it
	f.watcher = nil
}

// run waits for events and checks, and reports changes.
func (f *Follower) run(events <-chan fsnotify.Event, errs <-chan error) {
	interval := time.NewTimer(f.o.Interval)
	defer interval.Stop()
	for {
		var changed bool
		select {
		case <-f.closed:
			return
		case e, open := <-events:
			if !open {
				events = nil
			}
			changed = f.event(e)
		case _, open := <-errs:
			if !open {
				errs = nil
			}
			changed = open // events were lost
		case <-interval.C:
			changed = f.check()
			interval.Reset(f.pause())
		}
		if changed {
			f.o.Changed()
		}
	}
}

// pause returns the time between two checks. It grows with the time that a check takes, to
// bound the share of time spent checking.
func (f *Follower) pause() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return max(f.o.Interval, 20*f.took)
}

// event reports whether an event is about a followed path.
func (f *Follower) event(e fsnotify.Event) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e.Name == "" || !f.seen.counts(e.Name) {
		return false
	}
	f.seen.restamp(e.Name) // or the next check would report it again
	if e.Has(fsnotify.Create) {
		f.seen.addCreated(e.Name)
	}
	return true
}

// check compares the files with the snapshot and reports whether they differ. Where the
// system reports changes, it compares only the followed names: a renamed parent directory
// causes no event.
func (f *Follower) check() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	began := time.Now()
	polls := f.watcher == nil
	now := newSnapshot(func(string) bool { return false })
	for _, p := range f.paths {
		now.add(p, polls, polls)
	}
	changed := !maps.Equal(now.names, f.seen.names) || polls && !maps.Equal(now.files, f.seen.files)
	f.seen.names = now.names
	if polls {
		f.seen.files, f.took = now.files, time.Since(began)
	}
	return changed
}
