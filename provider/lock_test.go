package provider

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// holder is another process that works on machine "dev".
func holder(t *testing.T, p *Provider) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), HolderEnv+"="+p.opts.Home)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(cmd) })
	if word, err := bufio.NewReader(out).ReadString('\n'); err != nil || word != "locked\n" {
		t.Fatalf("the other process says %q, %v", word, err)
	}
	return cmd
}

func kill(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
}

// lockable is a provider with nothing but its state folder, and what it logs.
func lockable(t *testing.T) (*Provider, *bytes.Buffer) {
	t.Helper()
	var said bytes.Buffer
	p := &Provider{
		opts: Options{Home: t.TempDir(), Command: "stead destroy", LockTimeout: NoWait},
		log:  slog.New(slog.NewTextHandler(&said, nil)),
	}
	if err := os.Mkdir(p.machinesDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	return p, &said
}

func TestALockSaysWhoHoldsItSinceWhenAndForWhat(t *testing.T) {
	p, said := lockable(t)
	other := holder(t, p)
	_, err := p.write(t.Context(), "dev", "deleting")
	var locked *LockedError
	if !errors.As(err, &locked) {
		t.Fatalf("got %v", err)
	}
	by := locked.By
	if by.PID != other.Process.Pid || by.Command != "stead apply" || by.Doing != "creating dev" || by.Since.IsZero() {
		t.Errorf("held by %+v", by)
	}
	want := fmt.Sprintf("stead apply (pid %d, since %s, creating dev)", by.PID, by.Since.Local().Format(time.TimeOnly))
	if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "machine dev") {
		t.Errorf("the error is %q, want %q in it", err, want)
	}
	if said.Len() > 0 {
		t.Errorf("who does not wait says %s", said)
	}
}

func TestAWaitingCommandSaysOnceForWhom(t *testing.T) {
	p, said := lockable(t)
	holder(t, p)
	p.opts.LockTimeout = 3 * lockGrace
	_, err := p.write(t.Context(), "dev", "deleting")
	if !errors.Is(err, errLockTimeout) {
		t.Errorf("got %v", err)
	}
	if n := strings.Count(said.String(), "waiting for stead apply (pid "); n != 1 {
		t.Errorf("said %d times: %s", n, said)
	}
}

func TestAnInterruptEndsTheWaiting(t *testing.T) {
	p, _ := lockable(t)
	holder(t, p)
	p.opts.LockTimeout = 0
	ctx, cancel := context.WithTimeout(t.Context(), 2*lockGrace)
	defer cancel()
	if _, err := p.write(ctx, "dev", "deleting"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestTheLockOfAKilledProcessIsTakenOver(t *testing.T) {
	p, said := lockable(t)
	kill(holder(t, p))
	text, err := os.ReadFile(p.machineLock("dev").path)
	if err != nil || !strings.Contains(string(text), "creating dev") {
		t.Errorf("the killed process has left %q, %v", text, err)
	}
	if got := p.machineLock("dev").holder(); got != (Holder{}) {
		t.Errorf("a dead process holds the lock: %v", got)
	}
	unlock, err := p.write(t.Context(), "dev", "deleting")
	if err != nil {
		t.Fatal(err)
	}
	if got := p.machineLock("dev").holder(); got.PID != os.Getpid() || got.Doing != "deleting dev" {
		t.Errorf("now held by %+v", got)
	}
	unlock()
	if got := p.machineLock("dev").holder(); got != (Holder{}) || said.Len() > 0 {
		t.Errorf("held by %v after the end; said %s", got, said)
	}
}

func TestAProjectHasOneWriterAndTellsWhoItIs(t *testing.T) {
	p, _ := lockable(t)
	acme, other := "/acme/machines.hcl", "/other/machines.hcl"
	if by, held := p.ProjectHolder(acme); held {
		t.Errorf("%v holds it", by)
	}
	unlock, err := p.LockProject(t.Context(), acme)
	if err != nil {
		t.Fatal(err)
	}
	if by, held := p.ProjectHolder(acme); !held || by.PID != os.Getpid() || by.Command != "stead destroy" {
		t.Errorf("held: %v, by %v", held, by)
	}
	var locked *LockedError
	if _, err := p.LockProject(t.Context(), acme); !errors.As(err, &locked) || !strings.Contains(locked.What, acme) {
		t.Errorf("locking it twice gave %v", err)
	}
	second, err := p.LockProject(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	second()
	unlock()
	if by, held := p.ProjectHolder(acme); held {
		t.Errorf("%v still holds it", by)
	}
}

func TestTheOneWhoLocksAProjectRemovesWhatKilledCommandsLeft(t *testing.T) {
	p, _ := lockable(t)
	for _, name := range []string{".new-dev.1", ".old-dev.2"} {
		if err := os.Mkdir(filepath.Join(p.machinesDir(), name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	unlock, err := p.LockProject(t.Context(), "/acme/machines.hcl")
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if left := files(t, p); left != "" {
		t.Errorf("left: %s", left)
	}
}

func TestALockWithoutRoomForItsHoldersNameIsALock(t *testing.T) {
	p, _ := lockable(t)
	unlock, err := p.write(t.Context(), "dev", "creating")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	p.machineLock("dev").erase() // what a full disk leaves of it
	if _, err := p.write(t.Context(), "dev", "deleting"); err == nil || !strings.Contains(err.Error(), "another stead") {
		t.Errorf("got %v", err)
	}
}
