package reconcile_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stead-vm/stead/config"
	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/platform"
	"github.com/stead-vm/stead/reconcile"
	"github.com/stead-vm/stead/reconcile/follow"
	"github.com/stead-vm/stead/reconcile/reconciletest"
)

// fileProject is a project with real files, a context directory and an in-memory host.
type fileProject struct {
	t        *testing.T
	dir      string
	follower *follow.Follower
	host     *reconciletest.Host
	looks    chan time.Time
	cpus     chan int // of each applied plan
}

func (d *fileProject) file() string    { return filepath.Join(d.dir, config.FileName) }
func (d *fileProject) context() string { return filepath.Join(d.dir, "context") }

func (d *fileProject) Look(context.Context) (reconcile.Plan, error) {
	select {
	case d.looks <- time.Now():
	default:
	}
	d.follower.Follow(follow.Path{Name: d.file()}, follow.Path{Name: d.context(), Tree: true})
	p, err := config.Load(d.file())
	if err != nil {
		return reconcile.Plan{}, err
	}
	want, err := reconcile.Desired(p, reconcile.Defaults{
		Settings: machine.Settings{CPUs: 1, Memory: 1 << 30, Disk: 1 << 30, HomeMount: machine.HomeReadWrite},
		Digest:   func(string, platform.Platform) (string, error) { return "sha256:1", nil },
	})
	if err != nil {
		return reconcile.Plan{}, err
	}
	return reconcile.Diff(reconcile.Situation{Owner: reconcile.OwnerOf(p), Want: want, Have: d.host.Machines()})
}

func (d *fileProject) Apply(ctx context.Context, p reconcile.Plan) error {
	err := reconcile.Apply(ctx, d.host, p, reconcile.Options{})
	// An in-memory host keeps its calls. A new one each time does not grow.
	d.host = reconciletest.New(d.host.Machines()...)
	d.cpus <- p.Changes[0].Want.CPUs
	return err
}

func (d *fileProject) Tell(n reconcile.News) { d.t.Errorf("news: %+v", n) }

// save replaces the project file, as editors do.
func (d *fileProject) save(cpus int) {
	d.t.Helper()
	text := fmt.Sprintf("machine \"dev\" {\n  image = \"debian:12\"\n  state = \"stopped\"\n  cpus = %d\n}\n", cpus)
	written := filepath.Join(d.dir, "written")
	if err := os.WriteFile(written, []byte(text), 0o644); err != nil {
		d.t.Fatal(err)
	}
	if err := os.Rename(written, d.file()); err != nil {
		d.t.Fatal(err)
	}
}

// applied waits until a plan with that number of CPUs was applied.
func (d *fileProject) applied(cpus int) {
	d.t.Helper()
	for {
		select {
		case got := <-d.cpus:
			if got == cpus {
				return
			}
		case <-time.After(time.Minute):
			d.t.Fatalf("cpus = %d was not applied", cpus)
		}
	}
}

// watchFiles starts a watch that runs until the test ends.
func watchFiles(t *testing.T, quiet time.Duration) *fileProject {
	t.Helper()
	d := &fileProject{t: t, dir: t.TempDir(), host: reconciletest.New(), looks: make(chan time.Time, 1), cpus: make(chan int, 1)}
	if err := os.Mkdir(d.context(), 0o755); err != nil {
		t.Fatal(err)
	}
	changed := make(chan struct{}, 1)
	d.follower = follow.New(follow.Options{Changed: func() { poke(changed) }})
	d.save(1)
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- reconcile.Watch(ctx, d, reconcile.WatchOptions{Sources: changed, Machines: make(chan struct{}), Quiet: quiet})
	}()
	t.Cleanup(func() {
		end()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := d.follower.Close(); err != nil {
			t.Error(err)
		}
	})
	d.applied(1)
	return d
}

func TestSavedFileIsPlannedSoon(t *testing.T) {
	d := watchFiles(t, reconcile.DefaultQuiet)
	var took []time.Duration
	for i := range 10 {
		for len(d.looks) > 0 {
			<-d.looks
		}
		saved := time.Now()
		d.save(2 + i)
		took = append(took, (<-d.looks).Sub(saved))
		d.applied(2 + i)
	}
	slices.Sort(took)
	t.Logf("from saving to planning: median %v, maximum %v", took[len(took)/2], took[len(took)-1])
}

// TestWatchDoesNotLeak changes a file ten thousand times, and creates and removes directories
// in a context meanwhile. It counts goroutines and open files of the whole process, so no
// test of this package may be parallel.
func TestWatchDoesNotLeak(t *testing.T) {
	const settled, total = 1_000, 10_000
	d := watchFiles(t, time.Microsecond)
	var before resources
	began := time.Now()
	for i := 1; i <= total; i++ {
		if i%10 == 0 {
			sub := filepath.Join(d.context(), fmt.Sprint(i/10%3))
			if err := os.RemoveAll(sub); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Join(sub, fmt.Sprint(i)), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		d.save(1 + i%2)
		d.applied(1 + i%2)
		if i == settled {
			before = measure(t)
		}
	}
	after := measure(t)
	t.Logf("after %d changes: %+v; after %d, %v later: %+v", settled, before, total, time.Since(began).Round(time.Second), after)
	if after.goroutines > before.goroutines+2 || after.descriptors > before.descriptors+2 || after.heap > before.heap+512<<10 {
		t.Errorf("resources grew from %+v to %+v", before, after)
	}
}

type resources struct {
	goroutines, descriptors int
	heap                    uint64 // bytes
}

func measure(t *testing.T) resources {
	t.Helper()
	open, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.GC() // frees what the first one finalized
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return resources{goroutines: runtime.NumGoroutine(), descriptors: len(open), heap: m.HeapAlloc}
}
