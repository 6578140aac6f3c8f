package local_test

import (
	"fmt"
	"maps"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stead-vm/stead/provider/local"

	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/reconcile"
)

// crashes returns how often random tests kill applies: STEAD_TEST_CRASHES, or least if unset.
func crashes(t *testing.T, least int) int {
	t.Helper()
	text := os.Getenv("STEAD_TEST_CRASHES")
	if text == "" {
		return least
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("STEAD_TEST_CRASHES: %v", err)
	}
	return n
}

// chance returns a random source, seeded with STEAD_TEST_SEED if that is set.
func chance(t *testing.T) *rand.Rand {
	t.Helper()
	seed, err := strconv.ParseInt(os.Getenv("STEAD_TEST_SEED"), 10, 64)
	if err != nil {
		seed = time.Now().UnixNano()
	}
	t.Logf("STEAD_TEST_SEED=%d", seed)
	return rand.New(rand.NewSource(seed))
}

// inMemory returns a directory with a small tmpfs, where a sync costs nothing. Without the
// permission to mount one, it returns an ordinary directory and an error.
func inMemory(t *testing.T) (string, error) {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=64m"); err != nil {
		return dir, err
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir, nil
}

// change is one machine before and after, as its project wants it.
type change struct {
	before, after func(w *reconcile.Goal) // nil: the project has no such machine
	spoil         func(w *world)          // what happens in between
	moved         string                  // the new name; empty: not renamed
}

func running(*reconcile.Goal)   {}
func stopped(w *reconcile.Goal) { w.Stopped = true }
func larger(w *reconcile.Goal)  { w.CPUs, w.Disk = 2, 128*mib }
func another(w *reconcile.Goal) { w.Image = "local/tiny:2" }

func stoppedAnd(f func(w *reconcile.Goal)) func(w *reconcile.Goal) {
	return func(w *reconcile.Goal) { f(w); stopped(w) }
}

func unreadable(file func(*local.Provider, string) string) func(*world) {
	return func(w *world) { w.must(os.WriteFile(file(w.p, "dev"), []byte("{"), 0o600)) }
}

var changes = map[string]change{
	"create":                        {after: running},
	"create, stopped":               {after: stopped},
	"reconfigure":                   {before: stopped, after: stoppedAnd(larger)},
	"update":                        {before: running, after: func(w *reconcile.Goal) { w.Services = []string{"x"} }},
	"restart":                       {before: running, after: larger},
	"start":                         {before: stopped, after: running},
	"stop with settings":            {before: running, after: stoppedAnd(larger)},
	"repair of the record":          {before: running, after: running, spoil: unreadable((*local.Provider).RecordOf)},
	"repair of the settings":        {before: stopped, after: running, spoil: unreadable((*local.Provider).SettingsOf)},
	"replace":                       {before: running, after: another},
	"delete":                        {before: running},
	"move with settings":            {before: running, after: larger, moved: "new"},
	"move and replace":              {before: stopped, after: another, moved: "new"},
	"move of an unreadable machine": {before: running, after: running, moved: "new", spoil: unreadable((*local.Provider).RecordOf)},
	"replace after a power loss":    {before: running, after: another, spoil: (*world).powerLoss},
}

// project returns a project with one machine, or with none if as is nil.
func (w *world) project(id string, as func(*reconcile.Goal)) errand {
	if as == nil {
		return errand{}
	}
	want := reconcile.Goal{Spec: w.spec(id)}
	as(&want)
	want.Digest = w.digests[want.Image]
	return errand{Want: []reconcile.Goal{want}}
}

func TestApplyAfterAKillAtEachStep(t *testing.T) {
	home, _ := inMemory(t) // works on a disk too, but slower
	w := newWorld(t, home)
	kills := 0
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		t.Run(name, func(t *testing.T) {
			c := changes[name]
			w.t = t
			for at, more := 1, true; more; at++ {
				more = w.boundary(c, at)
				kills++
			}
		})
	}
	w.t = t
	t.Logf("killed at %d boundaries", kills)
}

// boundary kills the change at one event. It returns false if there was no such event.
func (w *world) boundary(c change, at int) bool {
	before := w.project("dev", c.before)
	w.converge(before, w.planned(before))
	if c.spoil != nil {
		c.spoil(w)
	}
	e := w.project("dev", c.after)
	if c.moved != "" {
		e = w.project(c.moved, c.after)
		e.Moved = map[string]string{c.moved: "dev"}
	}
	e.StopAt = at
	cmd, out, plan := w.child(e)
	line, _ := out.ReadString('\n') // empty if it has ended
	w.kill(cmd, at%2 == 0)
	w.checkMarks(e, plan, strings.TrimSpace("killed when "+line))
	w.converge(e, plan)
	return line != ""
}

func (w *world) planned(e errand) reconcile.Plan {
	plan, err := e.plan(w.t.Context(), w.p)
	w.must(err)
	return plan
}

// kill kills an apply and, with everything, all processes of the machines. It reports whether
// the apply was still running.
func (w *world) kill(cmd *exec.Cmd, everything bool) bool {
	_ = cmd.Process.Kill() // it may have ended
	_ = cmd.Wait()         // its state has the result
	if everything {
		w.powerLoss()
	}
	return !cmd.ProcessState.Exited()
}

func TestApplyAfterAKillAtRandomTimes(t *testing.T) {
	home, _ := inMemory(t) // works on a disk too, but slower
	w := newWorld(t, home)
	random := chance(t)
	var e errand
	span := 200 * time.Millisecond // about as long as an apply takes
	for kills, wanted := 0, crashes(t, 100); kills < wanted && !t.Failed(); {
		e = w.draw(random, e)
		w.disturb(random, e)
		cmd, _, plan := w.child(e)
		time.Sleep(time.Duration(random.Int63n(int64(span))))
		if w.kill(cmd, random.Intn(2) == 0) {
			kills++
			span += span / 20
		} else {
			span -= span / 10
		}
		w.checkMarks(e, plan, fmt.Sprintf("kill %d", kills))
		w.converge(e, plan)
	}
}

func TestApplyAfterAFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to mount a small disk; CI runs as root")
	}
	home, err := inMemory(t)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, home)
	random := chance(t)
	var e errand
	for failed, wanted := 0, crashes(t, 20); failed < wanted && !t.Failed(); {
		e = w.draw(random, e)
		plan := w.planned(e)
		release := w.fill(random.Int63n(4096 << random.Intn(10)))
		_, err := e.apply(t.Context(), w.p, reconcile.Options{}, func(reconcile.Plan) {})
		release()
		if err != nil {
			failed++
		}
		w.checkMarks(e, plan, fmt.Sprintf("failed with %v", err))
		w.converge(e, plan)
	}
}

// fill uses all disk space except room bytes until release.
func (w *world) fill(room int64) (release func()) {
	var fs unix.Statfs_t
	w.must(unix.Statfs(w.home, &fs))
	ballast := filepath.Join(w.home, "ballast")
	f, err := os.Create(ballast)
	w.must(err)
	defer f.Close()
	if size := int64(fs.Bavail)*fs.Bsize - room; size > 0 {
		w.must(unix.Fallocate(int(f.Fd()), 0, 0, size))
	}
	return func() { w.must(os.Remove(ballast)) }
}

// largest is the maximum size of disks that draw returns.
const largest = 80 * mib

// draw returns a random change of the project e.
func (w *world) draw(random *rand.Rand, e errand) errand {
	next := errand{Moved: map[string]string{}}
	old := map[string]reconcile.Goal{}
	for _, m := range e.Want {
		old[m.ID] = m
	}
	for _, id := range []string{"a", "b", "c", "d"} {
		m, there := old[id]
		switch luck := random.Intn(8); {
		case !there && luck < 4, there && luck == 0:
			continue
		case there && luck == 1 && old[id+"-new"].ID == "":
			m.ID = id + "-new"
			next.Moved[m.ID] = id
		case there && luck == 2:
			next.Want = append(next.Want, m)
			continue
		}
		if !there {
			m = reconcile.Goal{Spec: w.spec(id)}
		}
		m.Stopped = random.Intn(2) == 0
		m.CPUs = 1 + random.Intn(2)
		m.Disk = largest - int64(random.Intn(2))*16*mib
		m.Services = [][]string{nil, {"x"}, {"y", "x"}}[random.Intn(3)]
		m.Image = []string{"local/tiny:1", "local/tiny:2"}[random.Intn(2)]
		m.Digest, m.KeepImage, m.After = w.digests[m.Image], random.Intn(4) == 0, nil
		if n := len(next.Want); n > 0 && random.Intn(2) == 0 {
			m.After = []string{next.Want[n-1].ID}
		}
		next.Want = append(next.Want, m)
	}
	return next
}

// disturb changes machines outside of the project.
func (w *world) disturb(random *rand.Rand, e errand) {
	switch random.Intn(6) {
	case 0:
		w.powerLoss()
	case 1:
		id := []string{"a", "b", "c", "d"}[random.Intn(4)]
		i := slices.IndexFunc(e.Want, func(m reconcile.Goal) bool { return m.ID == id || e.Moved[m.ID] == id })
		file := w.p.SettingsOf(id)
		if random.Intn(2) == 0 && i >= 0 {
			file = w.p.RecordOf(id) // without a record the owner is unknown, so the project must declare it
		}
		if _, err := os.Stat(file); err == nil {
			w.must(os.WriteFile(file, []byte("{"), 0o600))
		}
		if i >= 0 {
			// A repair keeps a larger disk; only a later plan would replace it.
			e.Want[i].Disk = largest
		}
	}
}
