package local

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/stead-vm/stead/provider/machine"
)

// existPatience is how long a file system may take to say whether a project's file exists. A dead
// network file system never does, and must not keep other projects' machines from being listed.
const existPatience = time.Second

// existence asks whether files exist. The zero value is ready to use.
//
// No context ends stat(2), so a question can outlive its caller and hold a thread. There is at
// most one for each file.
type existence struct {
	stat func(path string) (os.FileInfo, error) // default: os.Stat

	mu    sync.Mutex
	asked map[string]*question // not answered yet
}

// question is about one file.
type question struct {
	begun    time.Time
	answered chan struct{} // closed once err is set
	err      error
}

// gone reports whether the project's file no longer exists, as when its directory was
// moved. A file in an unreadable directory, or on a file system that does not answer soon,
// counts as existing.
func (e *existence) gone(ctx context.Context, o machine.Owner) bool {
	if o.File == "" {
		return false
	}
	q := e.ask(o.File)
	select {
	case <-q.answered:
		return errors.Is(q.err, os.ErrNotExist)
	case <-ctx.Done():
	case <-time.After(time.Until(q.begun.Add(existPatience))):
	}
	return false
}

// ask returns the question about a file that is not answered yet, or else a new one.
func (e *existence) ask(path string) *question {
	e.mu.Lock()
	defer e.mu.Unlock()
	if q := e.asked[path]; q != nil {
		return q
	}
	stat := e.stat
	if stat == nil {
		stat = os.Stat
	}
	if e.asked == nil {
		e.asked = map[string]*question{}
	}
	q := &question{begun: time.Now(), answered: make(chan struct{})}
	e.asked[path] = q
	go func() {
		_, q.err = stat(path)
		e.mu.Lock()
		delete(e.asked, path)
		e.mu.Unlock()
		close(q.answered)
	}()
	return q
}
