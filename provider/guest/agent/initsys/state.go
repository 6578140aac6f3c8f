//go:build linux

package initsys

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// NotifySocket is the value of NOTIFY_SOCKET in systemd's environment: as process 1, systemd
// reports there that it is up (sd_notify(3)). Polling "systemctl is-system-running" instead
// would slow down the boot.
const NotifySocket = "/run/stead/notify"

// State reports the state of the init. It is safe for concurrent use.
type State struct {
	init Init
	up   atomic.Bool // systemd has finished its first transaction

	mu    sync.Mutex
	asked time.Time
	last  string
}

// NewState watches init. It listens on [NotifySocket], so call it before init starts. If that
// was long ago, init is taken to be up: it reports that only once.
func NewState(init Init, started bool) (*State, error) {
	s := &State{init: init}
	if init.PID1 != Systemd {
		return s, nil
	}
	s.up.Store(started)
	if err := os.Remove(NotifySocket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: NotifySocket, Net: "unixgram"})
	if err != nil {
		return s, err
	}
	go s.listen(c)
	return s, nil
}

func (s *State) listen(c *net.UnixConn) {
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		for line := range strings.Lines(string(buf[:n])) {
			switch strings.TrimSpace(line) {
			case "READY=1":
				s.up.Store(true)
			case "STOPPING=1":
				s.up.Store(false)
			}
		}
	}
}

// fresh is how long an answer of systemctl is cached.
const fresh = 2 * time.Second

// Get returns systemd's state ("starting", "running", "degraded", …), OpenRC's runlevel, or
// "" for other inits.
func (s *State) Get(ctx context.Context) string {
	switch s.init.Kind {
	case Systemd:
		if !s.up.Load() {
			return "starting"
		}
		return s.systemState(ctx)
	case OpenRC:
		level, err := os.ReadFile("/run/openrc/softlevel")
		if err != nil {
			return "starting"
		}
		return strings.TrimSpace(string(level))
	case Busybox, SysVinit, Agent, Unknown:
	}
	return ""
}

// answerTime bounds how long systemd may take to answer. The agent must answer the host even if
// systemd hangs; the last state is the best answer then.
const answerTime = 3 * time.Second

func (s *State) systemState(ctx context.Context) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.asked) > fresh {
		ctx, cancel := context.WithTimeout(ctx, answerTime)
		defer cancel()
		out, _ := command(ctx, "systemctl", "is-system-running") // the exit status only repeats the output
		if ctx.Err() == nil {
			s.last = strings.TrimSpace(string(out))
		}
		s.asked = time.Now()
	}
	return s.last
}
