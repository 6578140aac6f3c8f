package follow

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

// patience is how long a test waits for what has to come.
const patience = time.Minute

// following is a Follower in a folder, and what it tells.
type following struct {
	*Follower
	t       *testing.T
	dir     string
	changed chan struct{}
	events  chan fsnotify.Event // what the system tells reaches the Follower through it
	passed  chan string         // the names of markers that have reached it
	markers int
	clock   string // a file that is followed by nobody
}

// follow does as New, but sees what the system tells pass.
func follow(t *testing.T, poll bool) *following {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f := &following{
		t: t, dir: dir, clock: filepath.Join(t.TempDir(), "clock"), changed: make(chan struct{}, 1),
		events: make(chan fsnotify.Event), passed: make(chan string, 1),
	}
	f.Follower = &Follower{closed: make(chan struct{}), seen: newSight(nil)}
	f.o = Options{Poll: poll, Interval: 20 * time.Millisecond, Log: slog.New(slog.DiscardHandler), Changed: func() {
		select {
		case f.changed <- struct{}{}:
		default:
		}
	}}
	var errs chan error
	if !poll {
		w, err := fsnotify.NewWatcher()
		if err != nil {
			t.Fatal(err)
		}
		f.watcher, errs = w, w.Errors
		f.ended.Go(func() { f.pass(w.Events) })
	}
	f.ended.Go(func() { f.run(f.events, errs) })
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// pass hands on what the system tells.
func (f *following) pass(told <-chan fsnotify.Event) {
	for {
		select {
		case e, open := <-told:
			if !open {
				return
			}
			select {
			case f.events <- e:
			case <-f.closed:
				return
			}
			if strings.HasPrefix(filepath.Base(e.Name), "marker") {
				f.passed <- e.Name
			}
		case <-f.closed:
			return
		}
	}
}

func (f *following) path(rel string) string { return filepath.Join(f.dir, rel) }

// do runs one line of a script: what people and programs do to files.
func (f *following) do(line string) {
	f.t.Helper()
	w := strings.Fields(line)
	var err error
	switch w[0] {
	case "write":
		err = os.WriteFile(f.path(w[1]), []byte(fmt.Sprint(line, time.Now())), 0o644)
	case "mkdir":
		err = os.MkdirAll(f.path(w[1]), 0o755)
	case "rename":
		err = os.Rename(f.path(w[1]), f.path(w[2]))
	case "link":
		err = os.Symlink(w[1], f.path(w[2]))
	case "remove":
		err = os.RemoveAll(f.path(w[1]))
	case "chmod":
		err = os.Chmod(f.path(w[1]), 0o600)
	default:
		f.t.Fatalf("unknown: %s", line)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// tells wants news of what was just done, and then looks again, as whoever follows does.
func (f *following) tells(what string, paths []Path) {
	f.t.Helper()
	select {
	case <-f.changed:
	case <-time.After(patience):
		f.t.Fatalf("nothing is told of %q", what)
	}
	f.settle(paths)
}

// settle begins anew: all that was done before is seen, and what is done next is later.
func (f *following) settle(paths []Path) {
	f.t.Helper()
	f.Follow(paths...)
	f.told()
	for before := f.tick(); !f.tick().After(before); {
	}
}

// told tells whether there is news of anything that was done before.
func (f *following) told() (news bool) {
	f.t.Helper()
	if marker := f.marker(); marker != "" {
		if err := os.Mkdir(marker, 0o755); err != nil {
			f.t.Fatal(err)
		}
		for name := ""; name != marker; {
			select {
			case name = <-f.passed:
			case <-time.After(patience):
				f.t.Fatalf("the system does not tell of %s", marker)
			}
		}
	}
	differs := f.check()
	// Who takes the second of these has done with the first, and with all before.
	f.events <- fsnotify.Event{}
	f.events <- fsnotify.Event{}
	select {
	case <-f.changed:
		return true
	default:
		return differs
	}
}

// marker is a new name of which the system tells, if it tells of anything, and the
// Follower does not.
func (f *following) marker() (name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.watcher == nil {
		return ""
	}
	f.markers++
	for _, dir := range f.watcher.WatchList() {
		if name = filepath.Join(dir, fmt.Sprint("marker", f.markers)); !f.seen.counts(name) {
			break
		}
	}
	return name
}

// tick is the time that a file gets now. Clocks of file systems are coarse: two changes
// within a tick look like one.
func (f *following) tick() time.Time {
	f.t.Helper()
	err := os.WriteFile(f.clock, nil, 0o644)
	info, statErr := os.Stat(f.clock)
	if err := errors.Join(err, statErr); err != nil {
		f.t.Fatal(err)
	}
	return info.ModTime()
}

// tellsNothing wants no news of what lines do. Of several folders a system may tell in
// another order, so that news of what was before may come late, but not each time.
func (f *following) tellsNothing(lines []string, paths []Path) {
	f.t.Helper()
	for range 3 {
		f.settle(paths)
		for _, line := range lines {
			f.do(line)
		}
		if !f.told() {
			return
		}
	}
	f.t.Errorf("something is told of %q", lines)
}
