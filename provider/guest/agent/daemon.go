//go:build linux

package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/guest/agent/account"
	"github.com/stead-vm/stead/provider/guest/agent/initsys"
	"github.com/stead-vm/stead/provider/guest/agent/sshd"
)

// startDaemon starts the daemon beside process 1. The file that it returns is closed when
// process 1 becomes the init, which the daemon waits for. Text written to it is the reason
// why that failed.
func startDaemon() (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	cmd := &exec.Cmd{
		Path: programPath,
		// At shutdown, systemd does not kill root's processes whose name starts with "@": the
		// daemon runs until power-off, also across a soft reboot.
		Args:        []string{"@stead-agent", partDaemon},
		Env:         daemonEnvironment(),
		Dir:         "/",
		Stdout:      os.Stdout,
		Stderr:      os.Stderr,
		ExtraFiles:  []*os.File{r},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if err := cmd.Start(); err != nil {
		w.Close()
		return nil, fmt.Errorf("start the daemon: %w", err)
	}
	return w, nil
}

func daemonEnvironment() []string {
	return []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
}

// startedFD is the daemon's end of startDaemon's pipe.
const startedFD = 3

// runDaemon is also run again, by the keeper, if the daemon has ended while the machine runs.
func runDaemon(restarted bool) error {
	log := newLog()
	protect(log)
	h, err := readHandover()
	if err != nil {
		return err
	}
	go handleSignals()
	syscall.CloseOnExec(startedFD)
	keeper := -1
	if restarted {
		keeper = daemonFD
		syscall.CloseOnExec(keeper)
	}
	go keepKeeper(log, keeper)

	c := newControl(log, string(h.Init.Kind))
	if n := h.Boot.Network; n != nil {
		c.setAddress(n)
		if n.DHCP {
			if restarted { // the age of the lease is unknown, as after a sleep
				c.wakes <- struct{}{}
			}
			go keepLease(log, h, c)
		}
	}
	if limit := h.Boot.SharedInodes; limit > 0 {
		go keepInodes(log, limit)
	}
	shares := newShareKeeper(log, h.Boot.Mounts)
	go shares.run()
	for _, m := range h.Boot.Mounts {
		go keepLockWaits(context.Background(), log, m.Target)
	}
	state, err := initsys.NewState(h.Init, restarted)
	if err != nil {
		log.Warn("cannot watch systemd's state", "err", err)
	}
	c.initState = state.Get
	c.services = initsys.NewServices(h.Init.Kind, filepath.Join(stateDir, "services.json"))
	taking := make(chan struct{})
	c.shutdown = func(ctx context.Context, reboot bool) error {
		select {
		case <-taking: // an init would lose an earlier request
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		return h.Init.Shutdown(ctx, reboot, h.Boot.StopSignal)
	}
	sessions, err := newSessions(log, h.Boot, taking, shares.enter)
	if err != nil {
		h.Problem = errors.Join(errors.New(h.Problem), err).Error()
	}
	go c.awaitInit(h, taking)
	if h.Init.PID1 == initsys.Systemd || h.Init.PID1 == initsys.Unknown {
		go keepSentinel(log)
	}
	servers := map[uint32]server{guest.ControlPort: serveHTTP(c)}
	if sessions != nil {
		servers[guest.SSHPort] = sessions.Serve
	}
	return serveHost(log, servers)
}

// initDeadline bounds how long sessions wait until the init accepts commands. If it never
// does, the user can still open a session to find out why.
const initDeadline = 60 * time.Second

// awaitInit settles the status once process 1 has become the init. It closes taking when
// the init accepts commands.
func (c *control) awaitInit(h handover, taking chan<- struct{}) {
	defer close(taking)
	failure, _ := io.ReadAll(os.NewFile(startedFD, "started"))
	if h.Problem == "" && len(failure) > 0 {
		h.Problem = string(failure)
		if err := updateHandover(func(kept *handover) { kept.Problem = h.Problem }); err != nil {
			c.log.Warn("a restarted daemon will not know why the boot failed", "err", err)
		}
	}
	if h.Problem != "" {
		c.settle(errors.New(h.Problem))
		return
	}
	c.settle(nil)
	ctx, cancel := context.WithTimeout(context.Background(), initDeadline)
	defer cancel()
	if err := h.Init.Await(ctx); err != nil {
		c.log.Warn("the init does not accept commands; starting sessions anyway", "err", err)
	}
}

// handleSignals ends the daemon when the init ends all processes: the init would wait for it.
// Other signals are caught rather than ignored, because sessions would inherit that.
func handleSignals() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGINT)
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	<-term
	unix.Sync()
	os.Exit(0)
}

func newSessions(log *slog.Logger, conf guest.Boot, hold <-chan struct{}, enter func(dir string) error) (*sshd.Server, error) {
	hostKey, err := guest.Key{Private: conf.HostKey}.Signer()
	if err != nil {
		return nil, err
	}
	clientKey, err := guest.Key{Public: conf.ClientKey}.PublicKey()
	if err != nil {
		return nil, err
	}
	name := conf.User.Name
	if conf.User.UID == 0 {
		name = "root"
	}
	if err := makeAgentDir(); err != nil {
		return nil, err
	}
	return sshd.New(sshd.Options{
		HostKey: hostKey, ClientKey: clientKey, Users: account.NewDB("/etc"), DefaultUser: name, Env: conf.Env,
		SFTP: []string{programPath, partSFTP}, AgentDir: agentDir, Log: log, Hold: hold, Enter: enter,
	})
}

// agentDir has the sockets of the sessions' SSH agents. Unlike in /tmp, only root can make, list
// or remove files there.
const agentDir = runDir + "/ssh-agents"

// makeAgentDir makes an empty agentDir, whose subdirectories users can enter if they are theirs.
func makeAgentDir() error {
	err := os.RemoveAll(agentDir)
	if err == nil {
		err = os.Mkdir(agentDir, 0o711)
	}
	if err != nil {
		return fmt.Errorf("create the directory of the SSH agents' sockets: %w", err)
	}
	return os.Chmod(agentDir, 0o711) // whatever the umask
}

func serveHTTP(c *control) server {
	s := &http.Server{Handler: c.handler()}
	return func(l net.Listener) error { return s.Serve(l) }
}

// serveProbe serves the status from the initramfs until the host ends the machine.
func serveProbe(log *slog.Logger) {
	c := newControl(log, "")
	c.settle(nil)
	serveForever(log, c)
}

// serveFailure serves why the machine cannot boot until the host ends the machine.
func serveFailure(log *slog.Logger, why error) {
	c := newControl(log, "")
	c.settle(why)
	serveForever(log, c)
}

// serveForever never returns: the end of process 1 would panic the kernel.
func serveForever(log *slog.Logger, c *control) {
	err := serveHost(log, map[uint32]server{guest.ControlPort: serveHTTP(c)})
	log.Error("cannot serve the host", "err", err)
	select {}
}
