//go:build linux

package initsys

import (
	"context"
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

// NewState watches init. It listens on [NotifySocket], so call it before init starts.
func NewState(init Init) (*State, error) {
	s := &State{init: init}
	if init.PID1 != Systemd {
		return s, nil
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

func (s *State) systemState(ctx context.Context) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == "" || time.Since(s.asked) > fresh {
		out, _ := command(ctx, "systemctl", "is-system-running") // the exit status only repeats the output
		s.last, s.asked = strings.TrimSpace(string(out)), time.Now()
	}
	return s.last
}
