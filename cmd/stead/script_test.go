package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stead-vm/stead/provider/local"
	"github.com/stead-vm/stead/provider/machine"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/stead-vm/stead/provider/supervisor"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"stead": main, "make-disk": makeDisk, "within": within})
}

// within runs in a process of its own, started as "within SECONDS COMMAND...". It kills a command
// that takes longer, so that a test of something that hung fails instead of hanging.
func within() {
	seconds, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(seconds)*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[2], os.Args[3:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err = cmd.Run(); ctx.Err() != nil {
		fmt.Fprintln(os.Stderr, "it hangs")
	}
	if err != nil {
		os.Exit(1)
	}
}

// TestCommands tests the command line without running machines.
func TestCommands(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/cli",
		Setup:               setup,
		Cmds:                commands,
		Condition:           condition,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// TestMachines runs the program with real machines. It needs STEAD_TEST_VM=1, a host that can run
// machines, and the images of `make images` in $STEAD_TEST_IMAGES.
func TestMachines(t *testing.T) {
	if os.Getenv("STEAD_TEST_VM") == "" {
		t.Skip("STEAD_TEST_VM is not set; make test sets it")
	}
	root, err := os.MkdirTemp("/var/tmp", "stead-test-") // not in /tmp, which the init of a guest may empty
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	testscript.Run(t, testscript.Params{
		Dir: "testdata/machines",
		Setup: func(env *testscript.Env) error {
			return errors.Join(setup(env), shareKernels(filepath.Join(root, "kernels"), env.Getenv("STEAD_HOME")))
		},
		Cmds:                commands,
		Condition:           condition,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		WorkdirRoot:         root,
	})
}

// setup gives each script a home, a state directory and the images, and stops the machines that
// it leaves running.
func setup(env *testscript.Env) error {
	home := filepath.Join(env.WorkDir, "me")
	if err := os.Mkdir(home, 0o755); err != nil {
		return err
	}
	state := filepath.Join(env.WorkDir, "state")
	images := os.Getenv("STEAD_TEST_IMAGES")
	accel := os.Getenv("STEAD_ACCEL")
	if accel == "" {
		accel = "tcg" // works on every host; the probe has its own tests
	}
	env.Setenv("HOME", home)
	env.Setenv("STEAD_HOME", state)
	env.Setenv("STEAD_ACCEL", accel)
	env.Setenv("DEBIAN", "oci:"+filepath.Join(images, "debian-systemd")+":debian")
	env.Setenv("DEBIAN_LAYOUT", filepath.Join(images, "debian-systemd"))
	env.Setenv("SMALL", "oci:"+filepath.Join(images, "small"))
	env.Setenv("ARM64", "oci:"+filepath.Join(images, "arm64"))
	if kernels, _ := filepath.Glob(filepath.Join(images, "arm64/kernel/boot/vmlinuz-*")); len(kernels) == 1 {
		env.Setenv("ARM64_KERNEL", kernels[0])
	}
	tour, err := filepath.Abs(filepath.Join("..", "..", "examples", "quickstart", "tour"))
	if err != nil {
		return err
	}
	env.Setenv("TOUR", tour)
	semantics, err := filepath.Abs(filepath.Join("..", "..", "provider", "share", "testdata", "semantics.sh"))
	if err != nil {
		return err
	}
	env.Setenv("SEMANTICS", semantics)
	stead, err := exec.LookPath("stead")
	if err != nil {
		return err
	}
	env.Setenv("BIN", filepath.Dir(stead))
	env.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
	env.Defer(func() { killAll(state) })
	return nil
}

// shareKernels makes all scripts share one download of the default kernel, on hosts that have no
// kernel of their own.
func shareKernels(dir, state string) error {
	if runtime.GOOS != "darwin" {
		return nil
	}
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.MkdirAll(state, 0o700)); err != nil {
		return err
	}
	return os.Symlink(dir, filepath.Join(state, "kernels"))
}

// killAll kills every machine of a state directory, in any state.
func killAll(state string) {
	p, err := open(state)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	machines, err := p.Machines.List(ctx)
	if err != nil {
		return
	}
	for _, m := range machines {
		_ = p.Stop(ctx, m.ID, local.StopOptions{Force: true})
	}
}

func open(state string) (*local.Provider, error) {
	return local.New(local.Options{Home: state, Exe: "/nonexistent"})
}

// commands are the commands of scripts in addition to those of testscript.
var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"kill-vm":          killVM,
	"kill-supervisor":  killSupervisor,
	"pause-vm":         pauseVM,
	"resume-vm":        resumeVM,
	"wait-stopped":     waitStopped,
	"retry":            retry,
	"subst":            subst,
	"listen":           listen,
	"fsck":             fsck,
	"vm-rss":           vmRSS,
	"rss-fell":         rssFell,
	"tmpfs":            tmpfs,
	"disk-mount":       diskMount,
	"pause-shares":     pauseShares,
	"pause-supervisor": pauseSupervisor,
	"cut":              cut,
	"hold-project":     holdProject,
	"power-cuts":       powerCuts,
	"disk-space":       diskSpace,
	"sparse":           sparse,
	"matches-schema":   matchesSchema,
	"edit-share":       editShare,
}

// status returns the status of a machine's supervisor.
func status(ts *testscript.TestScript, id string) (*local.Provider, supervisor.Status) {
	p, err := open(ts.Getenv("STEAD_HOME"))
	ts.Check(err)
	st, err := p.Machines.Supervisor(id).Status(context.Background(), "")
	ts.Check(err)
	return p, st
}

// killVM (kill-vm NAME) kills the hypervisor, as a crash would.
func killVM(ts *testscript.TestScript, _ bool, args []string) { signalVM(ts, args[0], syscall.SIGKILL) }

// pauseVM (pause-vm NAME) stops the hypervisor's process, so that the machine does not answer.
func pauseVM(ts *testscript.TestScript, _ bool, args []string) {
	signalVM(ts, args[0], syscall.SIGSTOP)
}

// resumeVM (resume-vm NAME) ends a pause.
func resumeVM(ts *testscript.TestScript, _ bool, args []string) {
	signalVM(ts, args[0], syscall.SIGCONT)
}

func signalVM(ts *testscript.TestScript, id string, sig syscall.Signal) {
	_, st := status(ts, id)
	if st.VMPID == 0 {
		ts.Fatalf("the machine is not a process of its own")
	}
	ts.Check(syscall.Kill(st.VMPID, sig))
}

// killSupervisor (kill-supervisor NAME) kills the supervisor.
func killSupervisor(ts *testscript.TestScript, _ bool, args []string) {
	_, st := status(ts, args[0])
	ts.Check(syscall.Kill(st.PID, syscall.SIGKILL))
}

// pauseSupervisor (pause-supervisor NAME) stops the supervisor's process, so that it hangs.
func pauseSupervisor(ts *testscript.TestScript, _ bool, args []string) {
	_, st := status(ts, args[0])
	ts.Check(syscall.Kill(st.PID, syscall.SIGSTOP))
}

// pauseShares (pause-shares NAME) stops the file servers of a machine.
func pauseShares(ts *testscript.TestScript, _ bool, args []string) {
	_, st := status(ts, args[0])
	stopped := 0
	children, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", st.PID))
	ts.Check(err)
	for _, file := range children {
		text, err := os.ReadFile(file)
		ts.Check(err)
		for _, field := range strings.Fields(string(text)) {
			pid, err := strconv.Atoi(field)
			ts.Check(err)
			if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); bytes.Contains(line, []byte("\x00serve-share\x00")) {
				ts.Check(syscall.Kill(pid, syscall.SIGSTOP))
				stopped++
			}
		}
	}
	if stopped == 0 {
		ts.Fatalf("found no file server")
	}
}

// waitStopped (wait-stopped NAME) waits until the machine is stopped and its processes have ended.
func waitStopped(ts *testscript.TestScript, _ bool, args []string) {
	p, err := open(ts.Getenv("STEAD_HOME"))
	ts.Check(err)
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		m, err := p.Machines.Get(context.Background(), args[0])
		ts.Check(err)
		if m.State == machine.Stopped {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%s is still %v", args[0], m.State)
		}
	}
}

// retry (retry SECONDS COMMAND...) runs a program until it succeeds.
func retry(ts *testscript.TestScript, _ bool, args []string) {
	seconds, err := strconv.Atoi(args[0])
	ts.Check(err)
	for end := time.Now().Add(time.Duration(seconds) * time.Second); ; time.Sleep(200 * time.Millisecond) {
		err := ts.Exec(args[1], args[2:]...)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%s: %v", strings.Join(args[1:], " "), err)
		}
	}
}

// subst (subst FILE) expands the script's variables in the file.
func subst(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		path := ts.MkAbs(name)
		text := os.Expand(ts.ReadFile(path), ts.Getenv)
		ts.Check(os.WriteFile(path, []byte(text), 0o644))
	}
}

// rss returns the memory of the hypervisor's process in MiB.
func rss(ts *testscript.TestScript, id string) int {
	_, st := status(ts, id)
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", st.VMPID))
	ts.Check(err)
	pages, err := strconv.Atoi(strings.Fields(string(statm))[1])
	ts.Check(err)
	return pages * os.Getpagesize() >> 20
}

// vmRSS (vm-rss NAME FILE) writes the memory of the hypervisor's process to a file.
func vmRSS(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(strconv.Itoa(rss(ts, args[0]))), 0o644))
}

// rssFell (rss-fell NAME FILE MIB) waits up to a minute until the memory of the hypervisor's
// process is MIB less than in the file.
func rssFell(ts *testscript.TestScript, _ bool, args []string) {
	before, err := strconv.Atoi(ts.ReadFile(args[1]))
	ts.Check(err)
	least, err := strconv.Atoi(args[2])
	ts.Check(err)
	for end := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		now := rss(ts, args[0])
		if before-now >= least {
			ts.Logf("memory of the machine: %d MiB, then %d MiB", before, now)
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("memory of the machine was %d MiB and is still %d MiB", before, now)
		}
	}
}

// listen (listen VARIABLE TEXT) listens on a port of the host's loopback interface, sends TEXT to
// each connection, and sets VARIABLE to the port.
func listen(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	ts.Setenv(args[0], strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(c, args[1])
			c.Close()
		}
	}()
}

// tmpfs (tmpfs DIR SIZE) mounts a tmpfs of that size on the directory until the script ends.
func tmpfs(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(ts.Exec("mount", "-t", "tmpfs", "-o", "size="+args[1], "none", dir))
	ts.Defer(func() { ts.Check(exec.Command("umount", dir).Run()) })
}

// diskMount (disk-mount DIR SIZE) mounts an ext4 disk of that size on the directory until the
// script ends and its machines are stopped.
func diskMount(ts *testscript.TestScript, _ bool, args []string) {
	dir, disk := ts.MkAbs(args[0]), ts.MkAbs("disk")
	ts.Check(ts.Exec("truncate", "-s", args[1], disk))
	ts.Check(ts.Exec("mkfs.ext4", "-q", "-m", "0", disk))
	ts.Check(ts.Exec("mount", "-o", "loop", disk, dir))
	ts.Defer(func() {
		killAll(ts.Getenv("STEAD_HOME"))
		ts.Check(exec.Command("umount", dir).Run())
	})
}

// condition evaluates [root], [kvm-forbidden], [builds] and [tool:NAME].
func condition(cond string) (bool, error) {
	switch cond {
	case "root":
		return os.Getuid() == 0, nil
	case "builds":
		if _, err := exec.LookPath("buildah"); err != nil {
			return false, nil
		}
		mounts := exec.Command("buildah", "unshare", "true")
		if os.Getuid() == 0 { // root may not mount in a container
			mounts = exec.Command("unshare", "--mount", "true")
		}
		return mounts.Run() == nil, nil
	case "kvm-forbidden":
		f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
		if err == nil {
			f.Close()
		}
		return errors.Is(err, os.ErrPermission), nil
	}
	if name, ok := strings.CutPrefix(cond, "tool:"); ok {
		_, err := exec.LookPath(name)
		return err == nil, nil
	}
	return false, fmt.Errorf("unknown condition %q", cond)
}
