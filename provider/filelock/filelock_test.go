package filelock

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// holdEnv names the lock file that the test binary holds, as another process, until its standard
// input ends. sharedEnv makes it share the lock.
const (
	holdEnv   = "STEAD_TEST_HOLD"
	sharedEnv = "STEAD_TEST_SHARED"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(holdEnv); path != "" {
		os.Exit(hold(path))
	}
	os.Exit(m.Run())
}

func hold(path string) int {
	take := File{Path: path}.Lock
	if os.Getenv(sharedEnv) != "" {
		take = File{Path: path}.RLock
	}
	unlock, err := take(context.Background(), "waits")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("held")
	_, _ = bufio.NewReader(os.Stdin).ReadByte()
	unlock()
	return 0
}

// heldByAnother makes another process hold the lock until release, and returns its number.
func heldByAnother(t *testing.T, path, shared string) (pid int, release func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holdEnv+"="+path, sharedEnv+"="+shared)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "held\n" {
		t.Fatalf("the other process said %q: %v", line, err)
	}
	return cmd.Process.Pid, func() { stdin.Close() }
}

// lines receives what is logged.
type lines chan string

func (l lines) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

func newFile(t *testing.T) (File, lines) {
	t.Helper()
	said := make(lines, 16)
	return File{Path: filepath.Join(t.TempDir(), "lock"), Log: slog.New(slog.NewTextHandler(said, nil))}, said
}

func TestWaitForAnotherProcessIsTold(t *testing.T) {
	f, said := newFile(t)
	for _, shared := range []string{"", "1"} {
		pid, release := heldByAnother(t, f.Path, shared)
		locked := make(chan error, 1)
		go func() {
			unlock, err := f.Lock(t.Context(), "builds app:1")
			if err == nil {
				unlock()
			}
			locked <- err
		}()
		line := <-said
		if !strings.Contains(line, "waiting for another stead process that builds app:1") {
			t.Errorf("logged %q", line)
		}
		if named := strings.Contains(line, fmt.Sprintf("pid=%d\n", pid)); named != (shared == "") {
			t.Errorf("logged %q of process %d", line, pid)
		}
		if _, ok := f.TryLock(); ok {
			t.Error("took the lock of another process")
		}
		release()
		if err := <-locked; err != nil {
			t.Error(err)
		}
		if len(said) > 0 {
			t.Errorf("logged %q, too", <-said)
		}
	}
}

func TestLockIsSharedOnlyByThoseWhoAsk(t *testing.T) {
	f, said := newFile(t)
	_, release := heldByAnother(t, f.Path, "1")
	unlock, err := f.RLock(t.Context(), "reads")
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	release()
	_, release = heldByAnother(t, f.Path, "")
	defer release()
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-said
		cancel(enough)
	}()
	if _, err := f.RLock(ctx, "removes images"); !errors.Is(err, enough) {
		t.Errorf("RLock = %v, want %v", err, enough)
	}
}

func TestWaitForThisProcessIsNotTold(t *testing.T) {
	f, said := newFile(t)
	unlock, ok := f.TryLock()
	if !ok {
		t.Fatal("not locked")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*grace)
	defer cancel()
	if _, err := f.Lock(ctx, "builds app:1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Lock = %v", err)
	}
	unlock()
	if len(said) > 0 {
		t.Errorf("logged %q", <-said)
	}
}

func TestHolderOfADamagedFileIsUnknown(t *testing.T) {
	f, said := newFile(t)
	_, release := heldByAnother(t, f.Path, "")
	if err := os.WriteFile(f.Path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	locked := make(chan error, 1)
	go func() {
		unlock, err := f.Lock(t.Context(), "tests KVM")
		if err == nil {
			unlock()
		}
		locked <- err
	}()
	if line := <-said; !strings.Contains(line, "tests KVM") || strings.Contains(line, "pid=") {
		t.Errorf("logged %q", line)
	}
	release()
	if err := <-locked; err != nil {
		t.Error(err)
	}
}
