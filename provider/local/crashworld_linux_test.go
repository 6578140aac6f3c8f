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
	// markAt is the offset of the mark in a disk. No image uses this part.
	markAt = 60 * mib
	// foreign is a machine of another project.
	foreign = "foreign"
)

// world is a state directory with machines, and the expected contents of their disks.
type world struct {
	t       *testing.T
	p       *local.Provider
	home    string
	kernel  string
	digests map[string]string // by image
	user    machine.User

	marks map[string]string // the marks that disks must keep, by machine
	last  int               // number of the last mark
	alien []byte            // the record of the foreign machine
}

// newWorld creates a state directory in home with two images and a machine of another project.
// Orphaned processes of the machines become children of this process.
func newWorld(t *testing.T, home string) *world {
	t.Helper()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GORACE", "atexit_sleep_ms=0") // the test waits for many processes to end
	w := &world{t: t, home: home, kernel: fakeKernel(t), digests: map[string]string{}, marks: map[string]string{}}
	var err error
	w.p, err = open(home)
	w.must(err)
	w.user = host.User()
	for _, tag := range []string{"1", "2"} {
		img, err := w.p.Images.Import(t.Context(), "local/tiny:"+tag, local.TinyRoot(t, tag), nil)
		w.must(err)
		w.digests["local/tiny:"+tag] = img.Digest
	}
	s := w.spec(foreign)
	s.Owner = machine.Owner{Project: "other", File: "/other/machines.hcl"}
	w.must(w.p.Create(t.Context(), s, nil))
	w.mark(foreign)
	w.alien, err = os.ReadFile(w.p.RecordOf(foreign))
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

// spec returns the spec of a small machine.
func (w *world) spec(id string) machine.Spec {
	return machine.Spec{
		ID: id, Image: "local/tiny:1", Digest: w.digests["local/tiny:1"], Platform: platform.Host(),
		User: w.user, Owner: acme,
		Settings: machine.Settings{CPUs: 1, Memory: 1 << 30, Disk: 64 * mib, Kernel: w.kernel, HomeMount: machine.HomeNone},
	}
}

// mark writes a new mark to the machine's disk, which must keep it from then on.
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

// marked returns the mark of a machine's disk, or "".
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

// child starts an apply in another process and returns once it has planned.
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
		w.t.Fatalf("the apply prints %q, %v", line, err)
	}
	return cmd, out, plan
}

// powerLoss kills all processes of the machines.
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

// children returns the child processes of this one, and reaps those that have ended.
func children() []int {
	lists, _ := filepath.Glob("/proc/self/task/*/children") // the pattern is valid
	var pids []int
	for _, list := range lists {
		text, _ := os.ReadFile(list) // the thread may have ended
		for _, word := range strings.Fields(string(text)) {
			pid, err := strconv.Atoi(word)
			if err != nil {
				continue
			}
			// proc_pid_stat(5): the state follows the name, which can contain anything.
			stat, err := os.ReadFile(filepath.Join("/proc", word, "stat"))
			if _, state, _ := strings.Cut(string(stat), ") "); err != nil || strings.HasPrefix(state, "Z") {
				_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil) // its starter may have reaped it
				continue
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// lost returns the machines whose disks a plan destroys.
func lost(plan reconcile.Plan) map[string]bool {
	l := map[string]bool{}
	for _, c := range plan.Changes {
		if c.Action.LosesDisk() {
			l[c.Have.ID] = true
		}
	}
	return l
}

// checkMarks checks that every mark is on exactly one disk, under the machine's old or new name,
// unless the plan destroys the disk.
func (w *world) checkMarks(e errand, plan reconcile.Plan, when string) {
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

// converge applies again after an interruption. It must finish the plan, lose no other disk and
// leave no files behind.
func (w *world) converge(e errand, plan reconcile.Plan) {
	w.t.Helper()
	rest, err := e.apply(w.t.Context(), w.p, reconcile.Options{}, func(reconcile.Plan) {})
	if err != nil {
		w.t.Fatalf("the next apply failed: %v\nits plan was\n%s", err, reconcile.Text(rest))
	}
	w.checkMarks(e, plan, "after the next apply")
	if again, err := e.plan(w.t.Context(), w.p); err != nil || !again.Empty() {
		w.t.Fatalf("the plan is not empty (%v):\n%s\nafter\n%s", err, reconcile.Text(again), reconcile.Text(rest))
	}
	w.settle(e, plan)
	if err := w.p.Leftovers(); err != nil {
		w.t.Error(err)
	}
	w.checkProcesses()
	if record, err := os.ReadFile(w.p.RecordOf(foreign)); err != nil || !bytes.Equal(record, w.alien) {
		w.t.Errorf("the other project's machine is now %s, %v", record, err)
	}
}

// settle marks new disks.
func (w *world) settle(e errand, plan reconcile.Plan) {
	before := w.marks
	w.marks = map[string]string{foreign: before[foreign]}
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

// checkProcesses checks that each running machine has one process, and that there are no others.
func (w *world) checkProcesses() {
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
