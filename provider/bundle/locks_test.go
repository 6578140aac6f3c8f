package bundle

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

	"github.com/stead-vm/stead/provider/lock"
)

// holder starts another process, which locks machine "dev".
func holder(t *testing.T, p *Store) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holderEnv+"="+p.Home())
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
		t.Fatalf("the other process prints %q, %v", word, err)
	}
	return cmd
}

func kill(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
}

// lockGrace is longer than the time before a lock counts as held.
const lockGrace = 100 * time.Millisecond

// holderEnv names a state directory. It makes the test binary lock machine "dev" there, print
// a line, and wait to be killed.
const holderEnv = "STEAD_TEST_HOLDER"

func TestMain(m *testing.M) {
	if home := os.Getenv(holderEnv); home != "" {
		if err := hold(home); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func hold(home string) error {
	s, err := NewStore(home, &lock.Locker{Command: "stead apply", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	if _, err := s.Locks().Machine(context.Background(), "dev", "creating"); err != nil {
		return err
	}
	fmt.Println("locked")
	time.Sleep(time.Hour)
	return nil
}

// newStore returns an empty store whose locks have the given timeout, and its log.
func newStore(t *testing.T, timeout time.Duration) (*Store, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	s, err := NewStore(t.TempDir(), &lock.Locker{
		Command: "stead destroy", Timeout: timeout, Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, &log
}

func TestHeldErrorNamesTheHolder(t *testing.T) {
	p, log := newStore(t, lock.NoWait)
	other := holder(t, p)
	_, err := p.Locks().Machine(t.Context(), "dev", "deleting")
	var locked *lock.HeldError
	if !errors.As(err, &locked) {
		t.Fatalf("got %v", err)
	}
	by := locked.By
	if by.PID != other.Process.Pid || by.Command != "stead apply" || by.Doing != "creating dev" || by.Since.IsZero() {
		t.Errorf("held by %+v", by)
	}
	want := fmt.Sprintf("stead apply (pid %d, since %s, creating dev)", by.PID, by.Since.Local().Format(time.TimeOnly))
	if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "machine dev") {
		t.Errorf("the error is %q, want one with %q", err, want)
	}
	if log.Len() > 0 {
		t.Errorf("without waiting, the log has %s", log)
	}
}

func TestWaitingIsLoggedOnce(t *testing.T) {
	p, log := newStore(t, 3*lockGrace)
	holder(t, p)
	_, err := p.Locks().Machine(t.Context(), "dev", "deleting")
	var timeout *lock.TimeoutError
	if !errors.As(err, &timeout) || timeout.After != 3*lockGrace {
		t.Errorf("got %v", err)
	}
	if n := strings.Count(log.String(), "waiting for stead apply (pid "); n != 1 {
		t.Errorf("logged %d times: %s", n, log)
	}
}

func TestInterruptEndsTheWait(t *testing.T) {
	p, _ := newStore(t, 0)
	holder(t, p)
	ctx, cancel := context.WithTimeout(t.Context(), 2*lockGrace)
	defer cancel()
	if _, err := p.Locks().Machine(ctx, "dev", "deleting"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestLockOfAKilledProcessIsReleased(t *testing.T) {
	p, log := newStore(t, lock.NoWait)
	kill(holder(t, p))
	text, err := os.ReadFile(p.machineLock("dev").Path)
	if err != nil || !strings.Contains(string(text), "creating dev") {
		t.Errorf("the file of the killed process has %q, %v", text, err)
	}
	if by, held := p.machineLock("dev").Holder(); held {
		t.Errorf("a dead process holds the lock: %v", by)
	}
	unlock, err := p.Locks().Machine(t.Context(), "dev", "deleting")
	if err != nil {
		t.Fatal(err)
	}
	if got, held := p.machineLock("dev").Holder(); !held || got.PID != os.Getpid() || got.Doing != "deleting dev" {
		t.Errorf("now held by %+v", got)
	}
	unlock()
	if by, held := p.machineLock("dev").Holder(); held || log.Len() > 0 {
		t.Errorf("after unlock, held by %v; the log has %s", by, log)
	}
}

func TestProjectLock(t *testing.T) {
	p, _ := newStore(t, lock.NoWait)
	acme, other := "/acme/machines.hcl", "/other/machines.hcl"
	if by, held := p.Locks().ProjectHolder(acme); held {
		t.Errorf("held by %v", by)
	}
	unlock, err := p.Locks().Project(t.Context(), acme)
	if err != nil {
		t.Fatal(err)
	}
	if by, held := p.Locks().ProjectHolder(acme); !held || by.PID != os.Getpid() || by.Command != "stead destroy" {
		t.Errorf("held = %v, by %v", held, by)
	}
	var locked *lock.HeldError
	if _, err := p.Locks().Project(t.Context(), acme); !errors.As(err, &locked) || !strings.Contains(locked.What, acme) {
		t.Errorf("the second lock = %v", err)
	}
	second, err := p.Locks().Project(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	second()
	unlock()
	if by, held := p.Locks().ProjectHolder(acme); held {
		t.Errorf("%v still holds it", by)
	}
}

func TestProjectLockRemovesLeftovers(t *testing.T) {
	p, _ := newStore(t, lock.NoWait)
	for _, name := range []string{".new-dev.1", ".old-dev.2"} {
		if err := os.Mkdir(filepath.Join(p.dir(), name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	unlock, err := p.Locks().Project(t.Context(), "/acme/machines.hcl")
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if left, err := filepath.Glob(filepath.Join(p.dir(), ".*-*")); err != nil || len(left) > 0 {
		t.Errorf("left: %s, %v", left, err)
	}
}

func TestLockWithoutAHoldersName(t *testing.T) {
	p, _ := newStore(t, lock.NoWait)
	unlock, err := p.Locks().Machine(t.Context(), "dev", "creating")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	// A full disk leaves the file empty.
	if err := os.Truncate(p.machineLock("dev").Path, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Locks().Machine(t.Context(), "dev", "deleting"); err == nil || !strings.Contains(err.Error(), "another stead") {
		t.Errorf("got %v", err)
	}
}
