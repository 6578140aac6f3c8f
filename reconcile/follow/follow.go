// Package follow tells that files have changed, so that nobody has to ask.
//
// It is level-based like the engine that it serves: it says "look again" and not what
// happened, so that lost, repeated and merged events are harmless. Systems tell of changes
// in folders that they have at hand. Where they cannot (a folder of another host, more
// folders than the system can watch) files are looked at in intervals instead.
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

// DefaultInterval is how often files are looked at where nobody tells of changes.
const DefaultInterval = time.Second

const pollWarning = "changes of files are looked for in intervals, as the system does not tell of all"

// Path is something to follow.
type Path struct {
	Name string // absolute path of a file or folder; it need not exist
	Tree bool   // of a folder: all that is beneath counts, links not followed

	// Skip tells of something beneath a tree, by its path relative to Name, that it does
	// not count; a folder that does not count is not entered. Default: all counts.
	Skip func(rel string, folder bool) bool
}

// Options for New.
type Options struct {
	Changed  func()        // required: something has changed; it must not block
	Poll     bool          // look at intervals, also where the system would tell
	Interval time.Duration // default: DefaultInterval
	Log      *slog.Logger  // default: discard
}

// Follower follows files until it is closed. It is safe for concurrent use.
type Follower struct {
	o      Options
	closed chan struct{}
	ended  sync.WaitGroup

	mu      sync.Mutex
	watcher *fsnotify.Watcher // nil: files are looked at in intervals
	paths   []Path
	seen    *sight
	took    time.Duration // the last look
}

// New starts to follow nothing.
func New(o Options) *Follower {
	o.Interval = cmp.Or(o.Interval, DefaultInterval)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	f := &Follower{o: o, closed: make(chan struct{}), seen: newSight(nil)}
	var events chan fsnotify.Event
	var errs chan error
	if !o.Poll {
		w, err := fsnotify.NewWatcher()
		if err == nil {
			f.watcher, events, errs = w, w.Events, w.Errors
		} else {
			f.o.Log.Warn(pollWarning, "reason", err)
		}
	}
	f.ended.Go(func() { f.run(events, errs) })
	return f
}

// Close returns when Changed is not called any more.
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

// Follow replaces what is followed. Whoever reads the files after it has returned misses
// no change: a later one is told.
func (f *Follower) Follow(paths ...Path) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.paths = paths
	f.look()
}

// mostLooks bounds the looks of one Follow, should somebody move folders around all the time.
const mostLooks = 5

// look brings what is watched and what was seen up to date.
func (f *Follower) look() {
	began := time.Now()
	for again, n := true, 0; again && n < mostLooks; n++ {
		telling := f.watcher != nil
		now := newSight(f.enter)
		now.look(f.paths, !telling)
		before := f.seen
		f.seen = now
		// What changed in a folder before it was watched shows only to another look.
		again = telling && (f.watcher == nil || now.entered(before))
		for dir := range before.folders {
			if f.watcher != nil && !now.folders[dir] {
				_ = f.watcher.Remove(dir) // it may be gone, and its watch with it
			}
		}
		again = again || f.missing()
	}
	f.took = time.Since(began)
}

// missing tells whether a folder is not watched that is there: a system that had it under
// another name goes on telling of it under that one, until that one is given up.
func (f *Follower) missing() bool {
	if f.watcher == nil {
		return false
	}
	watched := map[string]bool{}
	for _, dir := range f.watcher.WatchList() {
		watched[dir] = true
	}
	for dir, there := range f.seen.folders {
		if there && !watched[dir] {
			return true
		}
	}
	return false
}

// enter has the system tell of changes in a folder, and tells whether it does. Doing it
// again is right: another folder may have come in its place.
func (f *Follower) enter(dir string) bool {
	if f.watcher == nil {
		return false
	}
	if _, known := f.seen.folders[dir]; !known && remote(dir) {
		f.poll("a file system on which others make changes", dir)
		return false
	}
	err := f.watcher.Add(dir)
	switch {
	case err == nil:
		return true
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ENOTDIR):
		// What cannot be read now shows in the folder above once it can.
	default:
		f.poll(err.Error(), dir)
	}
	return false
}

// poll gives up being told of changes.
func (f *Follower) poll(why, dir string) {
	f.o.Log.Warn(pollWarning, "dir", dir, "reason", why)
	_ = f.watcher.Close() // nothing of it is needed any more
	f.watcher = nil
}

// run waits for news.
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

// pause is the time between two looks, of which a slow one must not be all that is done.
func (f *Follower) pause() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return max(f.o.Interval, 20*f.took)
}

// event tells whether what the system tells counts.
func (f *Follower) event(e fsnotify.Event) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e.Name == "" || !f.seen.counts(e.Name) {
		return false
	}
	f.seen.restamp(e.Name) // or the next check would tell of it again
	if e.Has(fsnotify.Create) {
		f.seen.grow(e.Name)
	}
	return true
}

// check looks whether something differs from what was seen. Where the system tells of
// changes these are the followed names alone, because a folder above may have another
// name by now, of which nobody tells.
func (f *Follower) check() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	began := time.Now()
	polls := f.watcher == nil
	now := newSight(func(string) bool { return false })
	for _, p := range f.paths {
		now.lead(p, polls, polls)
	}
	changed := !maps.Equal(now.names, f.seen.names) || polls && !maps.Equal(now.files, f.seen.files)
	f.seen.names = now.names
	if polls {
		f.seen.files, f.took = now.files, time.Since(began)
	}
	return changed
}
