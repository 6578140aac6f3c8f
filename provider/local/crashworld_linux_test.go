package local_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stead-vm/stead/provider/host"
	"github.com/stead-vm/stead/provider/local"
	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/platform"

	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/reconcile"
)

const (
	mib = 1 << 20
	// markAt is where in a disk its mark is: free space, as far as any image knows.
	markAt = 60 * mib
	// strangers is a machine that belongs to somebody else.
	strangers = "strangers"
)

// world is a state folder with machines in it, and what must stay true of them.
type world struct {
	t       *testing.T
	p       *local.Provider
	home    string
	kernel  string
	digests map[string]string // by image
	user    machine.User

	marks map[string]string // by the machine's name, what its disk holds and must not lose
	last  int               // mark
	alien []byte            // the stranger's record
}

// newWorld makes a state folder in home with two images and a stranger's machine. The
// processes that its machines leave behind become children of this one.
func newWorld(t *testing.T, home string) *world {
	t.Helper()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GORACE", "atexit_sleep_ms=0") // the ends of many processes are waited for
	w := &world{t: t, home: home, kernel: fakeKernel(t), digests: map[string]string{}, marks: map[string]string{}}
	var err error
	w.p, err = open(home)
	w.must(err)
	w.user, err = host.User()
	w.must(err)
	for _, tag := range []string{"1", "2"} {
		img, err := w.p.Images.Import(t.Context(), "local/tiny:"+tag, local.TinyRoot(t, tag), nil)
		w.must(err)
		w.digests["local/tiny:"+tag] = img.Digest
	}
	s := w.spec(strangers)
	s.Owner = machine.Owner{Project: "other", File: "/other/machines.hcl"}
	w.must(w.p.Create(t.Context(), s, nil))
	w.mark(strangers)
	w.alien, err = os.ReadFile(w.p.RecordOf(strangers))
	w.must(err)
	t.Cleanup(w.powerLoss)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// spec is a small machine.
func (w *world) spec(id string) machine.Spec {
	return machine.Spec{
		ID: id, Image: "local/tiny:1", Digest: w.digests["local/tiny:1"], Platform: platform.Host(),
		User: w.user, Owner: acme,
		Settings: machine.Settings{CPUs: 1, Memory: 1 << 30, Disk: 64 * mib, Kernel: w.kernel, HomeMount: machine.HomeNone},
	}
}

// mark writes into the machine's disk what must not be lost from now on.
func (w *world) mark(id string) {
	w.t.Helper()
	w.last++
	w.marks[id] = fmt.Sprintf("mark %d of %s\n", w.last, id)
	disk, err := os.OpenFile(w.p.DiskOf(id), os.O_WRONLY, 0)
	w.must(err)
	defer disk.Close()
	_, err = disk.WriteAt([]byte(w.marks[id]), markAt)
	w.must(err)
}

// marked reads a disk's mark, or "".
func (w *world) marked(id string) string {
	disk, err := os.Open(w.p.DiskOf(id))
	if err != nil {
		return ""
	}
	defer disk.Close()
	buf := make([]byte, 64)
	n, _ := disk.ReadAt(buf, markAt) // a smaller disk has no mark
	line, _, _ := bytes.Cut(buf[:n], []byte("\n"))
	return string(bytes.TrimRight(line, "\x00"))
}

// child starts an apply in a process of its own and returns when it has planned.
func (w *world) child(e errand) (cmd *exec.Cmd, out *bufio.Reader, plan reconcile.Plan) {
	w.t.Helper()
	e.Home = w.home
	plan, err := e.plan(w.t.Context(), w.p)
	w.must(err)
	data, err := json.Marshal(e)
	w.must(err)
	file := filepath.Join(w.t.TempDir(), "errand.json")
	w.must(os.WriteFile(file, data, 0o600))
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), applyEnv+"="+file)
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	w.must(err)
	w.must(cmd.Start())
	out = bufio.NewReader(pipe)
	if line, err := out.ReadString('\n'); err != nil || line != "planned\n" {
		w.t.Fatalf("the apply says %q, %v", line, err)
	}
	return cmd, out, plan
}

// powerLoss kills every process that works for the world's machines.
func (w *world) powerLoss() {
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		left := children()
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("processes %v cannot be killed", left)
		}
		for _, pid := range left {
			_ = unix.Kill(pid, unix.SIGKILL) // it may have ended
		}
	}
}

// children are the processes that live beneath this one. Those that have ended are reaped.
func children() []int {
	lists, _ := filepath.Glob("/proc/self/task/*/children") // the pattern is sound
	var pids []int
	for _, list := range lists {
		text, _ := os.ReadFile(list) // the thread may have ended
		for _, word := range strings.Fields(string(text)) {
			pid, err := strconv.Atoi(word)
			if err != nil {
				continue
			}
			// proc_pid_stat(5): the state comes behind the name, which may hold anything.
			stat, err := os.ReadFile(filepath.Join("/proc", word, "stat"))
			if _, state, _ := strings.Cut(string(stat), ") "); err != nil || strings.HasPrefix(state, "Z") {
				_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil) // who started it may have been faster
				continue
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// lost are the machines whose disks a plan announces as lost.
func lost(plan reconcile.Plan) map[string]bool {
	l := map[string]bool{}
	for _, c := range plan.Changes {
		if c.Action.LosesDisk() {
			l[c.Have.ID] = true
		}
	}
	return l
}

// kept wants every mark in exactly one disk, under the machine's name or its new one,
// unless the plan announced it as lost.
func (w *world) kept(e errand, plan reconcile.Plan, when string) {
	w.t.Helper()
	found := map[string][]string{}
	machines, err := w.p.Machines.List(w.t.Context())
	w.must(err)
	for _, m := range machines {
		found[w.marked(m.ID)] = append(found[w.marked(m.ID)], m.ID)
	}
	announced := lost(plan)
	for _, id := range slices.Sorted(maps.Keys(w.marks)) {
		at := found[strings.TrimSpace(w.marks[id])]
		name := len(at) == 1 && (at[0] == id || e.Moved[at[0]] == id)
		if !name && (!announced[id] || len(at) != 0) {
			w.t.Errorf("%s: the disk of %s is in %q; the plan was\n%s", when, id, at, reconcile.Text(plan))
		}
	}
}

// converge is the apply after whatever has happened: it does the rest of plan, loses no
// disk besides, and leaves nothing behind.
func (w *world) converge(e errand, plan reconcile.Plan) {
	w.t.Helper()
	rest, err := e.apply(w.t.Context(), w.p, reconcile.Options{}, func(reconcile.Plan) {})
	if err != nil {
		w.t.Fatalf("the next apply fails: %v\nits plan was\n%s", err, reconcile.Text(rest))
	}
	w.kept(e, plan, "after the next apply")
	if again, err := e.plan(w.t.Context(), w.p); err != nil || !again.Empty() {
		w.t.Fatalf("there is still something to do (%v):\n%s\nafter\n%s", err, reconcile.Text(again), reconcile.Text(rest))
	}
	w.settle(e, plan)
	if err := w.p.Leftovers(); err != nil {
		w.t.Error(err)
	}
	w.processes()
	if record, err := os.ReadFile(w.p.RecordOf(strangers)); err != nil || !bytes.Equal(record, w.alien) {
		w.t.Errorf("somebody else's machine is now %s, %v", record, err)
	}
}

// settle marks the disks that are new.
func (w *world) settle(e errand, plan reconcile.Plan) {
	before := w.marks
	w.marks = map[string]string{strangers: before[strangers]}
	announced := lost(plan)
	for _, m := range e.Want {
		was := m.ID
		if from := e.Moved[m.ID]; from != "" && before[from] != "" {
			was = from
		}
		if w.marks[m.ID] = before[was]; w.marks[m.ID] == "" || announced[was] {
			w.mark(m.ID)
		}
	}
}

// processes wants one process for each machine that runs, and no other.
func (w *world) processes() {
	w.t.Helper()
	machines, err := w.p.Machines.List(w.t.Context())
	w.must(err)
	running := 0
	for _, m := range machines {
		if m.State == machine.Running {
			running++
		}
	}
	for end := time.Now().Add(time.Minute); len(children()) != running; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("%d machines run, with processes %v", running, children())
		}
	}
}
