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

// patience is how long a test waits for an expected event.
const patience = time.Minute

// testFollower is a Follower in a directory, and what it reports.
type testFollower struct {
	*Follower
	t       *testing.T
	dir     string
	changed chan struct{}
	events  chan fsnotify.Event // passes the events of the system to the Follower
	passed  chan string         // the names of markers that reached the Follower
	markers int
	clock   string // a file that is not followed
}

// follow is New, with the events of the system passed through the test.
func follow(t *testing.T, poll bool) *testFollower {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f := &testFollower{
		t: t, dir: dir, clock: filepath.Join(t.TempDir(), "clock"), changed: make(chan struct{}, 1),
		events: make(chan fsnotify.Event), passed: make(chan string, 1),
	}
	f.Follower = &Follower{closed: make(chan struct{}), seen: newSnapshot(nil)}
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

// pass passes on the events of the system.
func (f *testFollower) pass(in <-chan fsnotify.Event) {
	for {
		select {
		case e, open := <-in:
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

func (f *testFollower) path(rel string) string { return filepath.Join(f.dir, rel) }

// do runs one line of a script, such as "write path".
func (f *testFollower) do(line string) {
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
		f.t.Fatalf("unknown command: %s", line)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// expect waits for a report of what was just done, and then follows the paths again, as
// callers of Follow do.
func (f *testFollower) expect(what string, paths []Path) {
	f.t.Helper()
	select {
	case <-f.changed:
	case <-time.After(patience):
		f.t.Fatalf("no report of %q", what)
	}
	f.settle(paths)
}

// settle follows the paths again. Everything done before is seen, and the next change has a
// later time.
func (f *testFollower) settle(paths []Path) {
	f.t.Helper()
	f.Follow(paths...)
	f.reported()
	for before := f.tick(); !f.tick().After(before); {
	}
}

// reported reports whether anything that was done before was reported, and drops the report.
func (f *testFollower) reported() bool {
	f.t.Helper()
	if marker := f.marker(); marker != "" {
		if err := os.Mkdir(marker, 0o755); err != nil {
			f.t.Fatal(err)
		}
		for name := ""; name != marker; {
			select {
			case name = <-f.passed:
			case <-time.After(patience):
				f.t.Fatalf("the system does not report %s", marker)
			}
		}
	}
	differs := f.check()
	// Once the second of these is received, the first one and all before are handled.
	f.events <- fsnotify.Event{}
	f.events <- fsnotify.Event{}
	select {
	case <-f.changed:
		return true
	default:
		return differs
	}
}

// marker returns a new name that the system reports and the Follower does not, or "" if the
// system reports nothing.
func (f *testFollower) marker() (name string) {
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

// tick returns the modification time that a file gets now. Clocks of file systems are coarse:
// two changes within a tick look like one.
func (f *testFollower) tick() time.Time {
	f.t.Helper()
	err := os.WriteFile(f.clock, nil, 0o644)
	info, statErr := os.Stat(f.clock)
	if err := errors.Join(err, statErr); err != nil {
		f.t.Fatal(err)
	}
	return info.ModTime()
}

// expectNone wants no report of what lines do. The system may report changes of several
// directories in another order, so an earlier change may be reported late, but not each time.
func (f *testFollower) expectNone(lines []string, paths []Path) {
	f.t.Helper()
	for range 3 {
		f.settle(paths)
		for _, line := range lines {
			f.do(line)
		}
		if !f.reported() {
			return
		}
	}
	f.t.Errorf("unexpected report of %q", lines)
}
