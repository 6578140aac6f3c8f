//go:build linux

package agent

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

func TestRestGrowsUntilAProcessLivesLong(t *testing.T) {
	tests := map[string]struct{ lived, last, want time.Duration }{
		"the first end":               {time.Second, 0, leastRest},
		"another end soon after":      {time.Second, leastRest, 2 * leastRest},
		"one of many":                 {time.Second, mostRest - time.Second, mostRest},
		"an end after a long life":    {time.Hour, mostRest, leastRest},
		"a process that cannot start": {0, 4 * time.Second, 8 * time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := rest(tt.lived, tt.last); got != tt.want {
				t.Errorf("rest = %v, want %v", got, tt.want)
			}
		})
	}
}

// startSleeper starts a process that does nothing, and returns its pidfd.
func startSleeper(t *testing.T) (*exec.Cmd, int) {
	t.Helper()
	pidfd := -1
	cmd := exec.Command("sleep", "600")
	cmd.SysProcAttr = &syscall.SysProcAttr{PidFD: &pidfd}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if pidfd < 0 {
		t.Skip("the kernel has no pidfd")
	}
	return cmd, pidfd
}

func TestPeerIsStartedAndWatched(t *testing.T) {
	tests := map[string]struct {
		runs     bool // it runs already
		startErr error
		starts   int
	}{
		"a peer that was not started is started":  {starts: 1},
		"a peer that runs is only watched":        {runs: true},
		"a peer that cannot start is tried later": {startErr: errors.New("no memory"), starts: 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cmd, pidfd := startSleeper(t)
			starts := 0
			p := peer{log: quiet(), name: "peer", start: func(*os.File) (int, error) {
				starts++
				return pidfd, tt.startErr
			}}
			given := -1
			if tt.runs {
				given = pidfd
			}
			time.AfterFunc(10*time.Millisecond, func() { _ = cmd.Process.Kill() })
			if pause := p.runOnce(given, nil, leastRest); pause != 2*leastRest {
				t.Errorf("pause = %v", pause)
			}
			if starts != tt.starts {
				t.Errorf("started %d times, want %d", starts, tt.starts)
			}
			if tt.startErr != nil {
				_ = syscall.Close(pidfd)
			}
		})
	}
}
