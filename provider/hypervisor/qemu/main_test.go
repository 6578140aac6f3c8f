//go:build linux

package qemu

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/hypervisor"
	"github.com/stead-vm/stead/provider/share"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// The test program runs itself as helper processes; this variable selects which.
const (
	helperEnv    = "STEAD_TEST_HELPER"
	helperShare  = "share"
	helperHolder = "holder"
	helperOrphan = "orphan"
)

func TestMain(m *testing.M) {
	flag.Parse()
	var err error
	switch os.Getenv(helperEnv) {
	case helperShare:
		err = share.Serve(context.Background(), share.Options{Dir: flag.Arg(0), Socket: flag.Arg(1)})
	case helperHolder:
		err = serveHolding(flag.Arg(0), flag.Arg(1))
	case helperOrphan:
		err = dieAsParent()
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func helper(kind string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), helperEnv+"="+kind)
	return cmd
}

func shareCommand(s hypervisor.Share, socket string) *exec.Cmd {
	return helper(helperShare, s.Path, socket)
}

// dieAsParent starts a child, prints its process ID, and dies without cleaning up.
func dieAsParent() error {
	p, err := startProcess("sleep", exec.Command("sleep", "1000"), nil, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	fmt.Println(p.cmd.Process.Pid)
	return unix.Kill(os.Getpid(), unix.SIGKILL)
}

func TestChildrenDieWithTheirParent(t *testing.T) {
	out, _ := helper(helperOrphan).Output() // it was killed, so there is an error
	var pid int
	if _, err := fmt.Sscan(string(out), &pid); err != nil {
		t.Fatalf("no process ID in %q: %v", out, err)
	}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		var state string
		if err != nil {
			return
		}
		if _, err := fmt.Sscanf(string(stat), "%d (sleep) %1s", &pid, &state); err != nil || state == "Z" {
			return // reaped, or dead in a container whose init does not reap
		}
	}
	t.Errorf("process %d outlived its parent", pid)
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Error(err)
	}
}
