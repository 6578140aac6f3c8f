package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Settings of both machines.
const (
	benchCPUs   = 2
	benchMemory = 1 << 30 // bytes
	benchDisk   = 8 << 30 // bytes
)

const (
	benchRounds    = 3  // for steps that take seconds; the median counts
	benchLatencies = 20 // for shorter steps
	benchDeadline  = 35 * time.Minute
	stepDeadline   = 4 * time.Minute // for one command, including a boot on a busy host
)

// TestBenchDisks compares the conversion of an image to a disk with other tools. Both run in the
// same test, because only the ratios are reliable on a busy host. It needs STEAD_BENCH=1,
// bin/stead from `make build`, and the images of `make images` in $STEAD_TEST_IMAGES. No figure
// makes it fail.
func TestBenchDisks(t *testing.T) {
	b := newBench(t)
	b.say("image with one layer")
	b.oneLayer()
	b.say("image with %d layers", benchLayers)
	b.manyLayers()
	b.say("second machine")
	b.secondMachine()
	b.print("%d processors", runtime.NumCPU())
}

// TestBenchMachines compares a machine with one that a user sets up by hand from the same image.
// It needs the same as TestBenchDisks.
func TestBenchMachines(t *testing.T) {
	b := newBench(t)
	b.unpackLayer()
	b.cacheDisk()
	hand, err := b.prepareHand()
	if err != nil {
		b.note("no figures by hand: %v", err)
	}
	for round := range benchRounds {
		last := round == benchRounds-1
		b.say("round %d: stead", round+1)
		b.steadRound(last)
		if hand != nil {
			b.say("round %d: by hand", round+1)
			b.handRound(hand, last)
		}
	}
	b.print("%d processors, %d MiB, %s; latencies of %d", benchCPUs, benchMemory>>20, b.accel, benchLatencies)
}

// bench is one run of a benchmark.
type bench struct {
	t     *testing.T
	ctx   context.Context
	dir   string // all files of the run; removed at its end
	state string // $STEAD_HOME
	exe   string // bin/stead: the test binary is larger
	accel string
	tar   string // the image's one layer, unpacked
	table table
	notes []string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	if os.Getenv("STEAD_BENCH") == "" {
		t.Skip("STEAD_BENCH is not set; make bench sets it")
	}
	if os.Getenv("STEAD_TEST_IMAGES") == "" {
		t.Fatal("STEAD_TEST_IMAGES is not set; make bench sets it")
	}
	dir, err := os.MkdirTemp("/var/tmp", "stead-bench-") // on a disk, where users keep machines
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	ctx, cancel := context.WithTimeout(context.Background(), benchDeadline)
	t.Cleanup(cancel)
	b := &bench{
		t: t, ctx: ctx, dir: dir, state: filepath.Join(dir, "state"), exe: filepath.Join(dir, "stead"),
		tar: filepath.Join(dir, "layer.tar"), accel: cmp.Or(os.Getenv("STEAD_ACCEL"), "tcg"),
	}
	t.Cleanup(func() { killAll(b.state) })
	// Copy it: a build may replace it during the run.
	b.run("cp", filepath.Join("..", "..", "bin", "stead"), b.exe)
	b.must(os.Mkdir(b.path("home"), 0o755))
	b.declare(b.reference())
	return b
}

// declare writes the project file.
func (b *bench) declare(image string) {
	b.must(os.WriteFile(b.path("machines.hcl"), fmt.Appendf(nil, `machine "dev" {
  image  = %q
  cpus   = %d
  memory = "%dM"
  disk   = "%dM"
}
`, image, benchCPUs, benchMemory>>20, benchDisk>>20), 0o644))
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// say logs progress.
func (b *bench) say(format string, args ...any) { b.t.Logf(format+" …", args...) }

// print shows the figures.
func (b *bench) print(about string, args ...any) {
	b.t.Logf("%s; medians of %d\n\n%s\n%s",
		fmt.Sprintf(about, args...), benchRounds, &b.table, strings.Join(b.notes, "\n"))
}

// note adds a line beneath the table.
func (b *bench) note(format string, args ...any) {
	b.notes = append(b.notes, fmt.Sprintf(format, args...))
}

// command returns a program with the bench's environment and deadline.
func (b *bench) command(name string, args ...string) (*exec.Cmd, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(b.ctx, stepDeadline)
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = b.dir
	if name == "cp" {
		cmd.Dir = "" // relative paths are relative to the package
	}
	cmd.WaitDelay = time.Second // a supervisor may have inherited the pipe
	cmd.Env = append(os.Environ(), "HOME="+b.path("home"), "STEAD_HOME="+b.state, "STEAD_ACCEL="+b.accel,
		"LC_ALL=C", "DEBIAN_FRONTEND=noninteractive", "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin", "SSH_AUTH_SOCK=")
	return cmd, cancel
}

// try runs a program and returns its output. An error has the whole output.
func (b *bench) try(name string, args ...string) (string, error) {
	out, _, err := b.tryTimed(name, args...)
	return out, err
}

// cost is the time of a program and its child processes, in seconds.
type cost struct{ wall, processor float64 }

func (b *bench) tryTimed(name string, args ...string) (string, cost, error) {
	cmd, cancel := b.command(name, args...)
	defer cancel()
	var out, all bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &all
	clock := newClock()
	if err := cmd.Run(); err != nil {
		return "", cost{}, fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), err, &all, &out)
	}
	c := cost{clock.seconds(), (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()}
	return strings.TrimSpace(out.String()), c, nil
}

func (b *bench) run(name string, args ...string) string {
	b.t.Helper()
	out, err := b.try(name, args...)
	b.must(err)
	return out
}

// clock measures the time since its start.
type clock struct{ start time.Time }

func newClock() clock { return clock{time.Now()} }

func (c clock) seconds() float64 { return time.Since(c.start).Seconds() }

// timed returns the duration of do in seconds.
func timed(do func()) float64 {
	c := newClock()
	do()
	return c.seconds()
}
