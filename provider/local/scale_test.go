package local_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stead-vm/stead/provider/host"
	"github.com/stead-vm/stead/provider/local"
	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/platform"

	"github.com/stead-vm/stead/config"
	"github.com/stead-vm/stead/reconcile"
)

const scaleRounds = 7 // per figure

// TestBenchScale measures commands on a host with many running machines: real bundles and
// supervisors, with fake hypervisors. It needs STEAD_BENCH=1 and bin/stead from `make build`. No
// figure makes it fail.
func TestBenchScale(t *testing.T) {
	if os.Getenv("STEAD_BENCH") == "" {
		t.Skip("STEAD_BENCH is not set; make bench sets it")
	}
	exe, err := filepath.Abs(filepath.Join("..", "..", "bin", "stead"))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	out := tabwriter.NewWriter(&text, 0, 8, 2, ' ', 0)
	fmt.Fprintln(out, "machines\tplan, CPU\tplan\tapply of nothing, CPU\tapply of nothing\tstatus, CPU\t")
	for _, n := range []int{1, 50, 100, 200, 400} {
		h := newHerd(t, n)
		planCPU, plan := h.cost(exe, "plan")
		applyCPU, apply := h.cost(exe, "apply", "--auto-approve")
		statusCPU, _ := h.cost(exe, "status")
		fmt.Fprintf(out, "%d\t%v\t%v\t%v\t%v\t%v\t\n", n, planCPU, plan, applyCPU, apply, statusCPU)
		h.end()
	}
	out.Flush() //nolint:errcheck // a Builder does not fail
	t.Logf("%d rounds; aims for 200: plan ≤ 100 ms of CPU, apply of nothing ≤ 300 ms, both growing linearly\n\n%s", scaleRounds, &text)
}

// herd is a project whose machines all run as declared.
type herd struct {
	t    *testing.T
	dir  string
	home string

	stop context.CancelFunc
	all  sync.WaitGroup
}

func newHerd(t *testing.T, n int) *herd {
	t.Helper()
	dir := t.TempDir()
	h := &herd{t: t, dir: dir, home: filepath.Join(dir, "state")}
	p, err := open(h.home)
	h.must(err)
	_, err = p.Images.Import(t.Context(), "local/tiny:1", local.TinyRoot(t, "1"), nil)
	h.must(err)
	file := filepath.Join(dir, "machines.hcl")
	var text strings.Builder
	kernel := fakeKernel(t)
	for i := range n {
		fmt.Fprintf(&text, "machine \"m%d\" {\n  image = \"local/tiny:1\"\n  cpus = 1\n  memory = \"1G\"\n  disk = \"1G\"\n"+
			"  kernel = %q\n  home_mount = \"none\"\n  services = [\"a\", \"b\"]\n}\n", i, kernel)
	}
	h.must(os.WriteFile(file, []byte(text.String()), 0o600))
	project, err := config.Load(file)
	h.must(err)
	want, err := reconcile.Desired(project, reconcile.Defaults{
		Settings: host.DefaultSettings(), Platform: platform.Host(), User: host.User(),
		Digest: func(ref string, _ platform.Platform) (string, error) {
			img, err := p.Images.Resolve(t.Context(), ref, platform.Host(), false)
			return img.Digest, err
		},
	})
	h.must(err)
	ctx, stop := context.WithCancel(t.Context())
	h.stop = stop
	t.Cleanup(h.end)
	for _, w := range want {
		h.must(p.Create(ctx, w.Spec, nil))
		h.must(p.Bundles.Notes(w.Owner).Write(w.ID, &w.Spec, false))
		h.all.Go(func() {
			if err := p.Supervise(ctx, w.ID, nil); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		})
	}
	for _, w := range want {
		for m, err := p.Machines.Get(ctx, w.ID); m.State != machine.Running; m, err = p.Machines.Get(ctx, w.ID) {
			h.must(err)
			time.Sleep(time.Millisecond)
		}
	}
	return h
}

func (h *herd) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// end stops all machines.
func (h *herd) end() {
	h.stop()
	h.all.Wait()
}

// cost returns the CPU time of a command, as the minimum because other load only adds to it, and
// its wall time, as the median.
func (h *herd) cost(exe string, args ...string) (cpu, wall time.Duration) {
	h.t.Helper()
	var cpus, walls []time.Duration
	for range scaleRounds {
		cmd := exec.Command(exe, args...)
		cmd.Dir = h.dir
		cmd.Env = append(os.Environ(), "STEAD_HOME="+h.home)
		begin := time.Now()
		out, err := cmd.CombinedOutput()
		walls = append(walls, time.Since(begin))
		if err != nil {
			h.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
		}
		if args[0] != "status" && !bytes.Contains(out, []byte("No changes")) {
			h.t.Fatalf("%s plans changes:\n%s", strings.Join(args, " "), out)
		}
		cpus = append(cpus, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
	}
	slices.Sort(cpus)
	slices.Sort(walls)
	return cpus[0].Round(time.Millisecond), walls[scaleRounds/2].Round(time.Millisecond)
}
