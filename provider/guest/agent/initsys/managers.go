//go:build linux

package initsys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/stead-vm/stead/provider/guest/agent/oom"
	"github.com/stead-vm/stead/provider/poll"
)

// pollEvery is the pause between two checks for something that an init creates at its start.
const pollEvery = 5 * time.Millisecond

// command runs one of the init's tools.
func command(ctx context.Context, name string, args ...string) ([]byte, error) {
	return commandEnv(ctx, nil, name, args...)
}

// commandEnv is command with more variables. It searches the usual directories, because the
// agent has no PATH of its own.
func commandEnv(ctx context.Context, env []string, name string, args ...string) ([]byte, error) {
	var path string
	for _, dir := range []string{"/usr/bin", "/bin", "/usr/sbin", "/sbin"} {
		if p := filepath.Join(dir, name); executable(p) {
			path = p
			break
		}
	}
	if path == "" {
		return nil, fmt.Errorf("%s is not installed in this image", name)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "SYSTEMD_PAGER="}
	cmd.Env = append(cmd.Env, env...)
	cmd.WaitDelay = time.Second // a daemon that a service leaves behind may hold the pipe
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	err := oom.Start(cmd) // a service that it starts must not inherit the agent's protection
	if err == nil {
		err = cmd.Wait()
	}
	out := output.Bytes()
	if ctx.Err() != nil {
		return out, fmt.Errorf("%s timed out: %w", name, context.Cause(ctx))
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	return out, err
}

func waitForFile(ctx context.Context, path, what string) error {
	err := poll.Loop{Every: pollEvery}.Until(ctx, func(context.Context) error {
		_, err := os.Stat(path)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

type systemd struct{}

// managerSocket appears when systemd accepts commands from systemctl, before D-Bus runs.
const managerSocket = "/run/systemd/private"

// Await returns when process 1 accepts commands. Before that, systemctl would fail with
// "System has not been booted with systemd".
func (i Init) Await(ctx context.Context) error {
	if i.PID1 != Systemd {
		return nil
	}
	return systemd{}.ready(ctx)
}

func (systemd) ready(ctx context.Context) error {
	return waitForFile(ctx, managerSocket, "systemd does not accept commands")
}

// links runs a systemctl command that only changes links for the next boot. It does not
// reload systemd, which costs seconds. The scripts that synchronise System V links cost
// more, so they run only for a service for which systemd has no unit.
func (systemd) links(ctx context.Context, verb, name string) ([]byte, error) {
	if _, err := commandEnv(ctx, []string{"SYSTEMCTL_SKIP_SYSV=1"}, "systemctl", verb, "--quiet", "--no-reload", "--", name); err == nil {
		return nil, nil
	}
	return command(ctx, "systemctl", verb, "--quiet", "--no-reload", "--", name)
}

func (m systemd) enable(ctx context.Context, name string) error {
	if _, err := commandEnv(ctx, []string{"SYSTEMCTL_SKIP_SYSV=1"}, "systemctl", "is-enabled", "--quiet", "--", name); err != nil {
		if out, err := m.links(ctx, "enable", name); err != nil {
			return words(out, err)
		}
	}
	if out, err := command(ctx, "systemctl", "start", "--", name); err != nil {
		if why := m.failure(ctx, name); why != nil {
			return why // says more than where to look
		}
		return words(out, err)
	}
	return nil
}

// failure also looks at the units that are parts of the service, as Debian's postgresql has them.
func (systemd) failure(ctx context.Context, name string) error {
	parts, err := command(ctx, "systemctl", "show", "--property=ConsistsOf", "--value", "--", name)
	if err != nil {
		return words(parts, err)
	}
	for _, unit := range append([]string{name}, strings.Fields(string(parts))...) {
		out, err := command(ctx, "systemctl", "show", "--property=ActiveState", "--property=SubState", "--property=Result", "--", unit)
		if err != nil {
			return words(out, err)
		}
		if state := failedState(string(out)); state != "" {
			if unit != name {
				state = unit + " is " + state
			}
			lines, _ := command(ctx, "journalctl", "--quiet", "--no-pager", "--boot", "--lines=5", "--output=cat", "--unit="+unit)
			return withLines(state, string(lines))
		}
	}
	return nil
}

// failedState returns the state of a unit that has failed or is restarted again and again, as
// "systemctl status" words it, or "".
func failedState(properties string) string {
	p := map[string]string{}
	for line := range strings.Lines(properties) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		p[key] = value
	}
	if p["ActiveState"] != "failed" && p["SubState"] != "auto-restart" {
		return ""
	}
	return fmt.Sprintf("%s (result: %s)", p["ActiveState"], p["Result"])
}

// withLines returns an error of a state and what a service printed last.
func withLines(state, lines string) error {
	if lines = strings.TrimSpace(lines); lines == "" {
		return errors.New(state)
	}
	return fmt.Errorf("%s; its last lines:\n%s", state, lines)
}

func (m systemd) disable(ctx context.Context, name string) error {
	state, err := command(ctx, "systemctl", "show", "--property=LoadState", "--value", "--", name)
	if err == nil && strings.TrimSpace(string(state)) == "not-found" {
		return nil // it never existed, or was removed meanwhile
	}
	if out, err := m.links(ctx, "disable", name); err != nil {
		return words(out, err)
	}
	if out, err := command(ctx, "systemctl", "stop", "--", name); err != nil {
		return words(out, err)
	}
	return nil
}

func (systemd) active(ctx context.Context, name string) bool {
	_, err := command(ctx, "systemctl", "is-active", "--quiet", "--", name)
	return err == nil
}

type openrc struct{}

// ready waits until OpenRC has reached its runlevel: services that are started earlier
// would run twice.
func (openrc) ready(ctx context.Context) error {
	return poll.Loop{Every: pollEvery}.Until(ctx, func(context.Context) error {
		if level, err := os.ReadFile("/run/openrc/softlevel"); err == nil && strings.TrimSpace(string(level)) != "" {
			if _, err := os.Stat("/run/openrc/rc.starting"); err != nil {
				return nil
			}
		}
		return errors.New("OpenRC has not reached its runlevel")
	})
}

func (m openrc) enable(ctx context.Context, name string) error {
	if _, err := os.Stat("/etc/runlevels/default/" + name); err != nil {
		if out, err := command(ctx, "rc-update", "add", name, "default"); err != nil {
			return words(out, err)
		}
	}
	if m.active(ctx, name) {
		return nil
	}
	if out, err := command(ctx, "rc-service", name, "start"); err != nil {
		return words(out, err)
	}
	return nil
}

// failure has no lines to show: OpenRC keeps none.
func (openrc) failure(ctx context.Context, name string) error {
	if out, err := command(ctx, "rc-service", name, "status"); err != nil {
		return fmt.Errorf("does not run any more: %w", words(out, err))
	}
	if processEnded("/run/openrc/options", name) {
		return errors.New("does not run any more: its process has ended")
	}
	return nil
}

// processEnded reports whether the process of a service is gone. OpenRC's status does not say so on
// Debian, where dpkg's start-stop-daemon starts it. OpenRC keeps the path of the file with the
// process's number in options.
func processEnded(options, name string) bool {
	path, err := os.ReadFile(filepath.Join(options, name, "pidfile"))
	if err != nil {
		return false // unknown
	}
	text, err := os.ReadFile(strings.TrimSpace(string(path)))
	if err != nil {
		return false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	return err == nil && pid > 0 && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

func (openrc) disable(ctx context.Context, name string) error {
	if _, err := os.Stat("/etc/init.d/" + name); errors.Is(err, os.ErrNotExist) {
		_ = os.Remove("/etc/runlevels/default/" + name) // a dead link, if anything
		return nil
	}
	stopped, err1 := command(ctx, "rc-service", "--ifstarted", name, "stop")
	removed, err2 := command(ctx, "rc-update", "del", name, "default")
	if err1 != nil {
		return words(stopped, err1)
	}
	if _, err := os.Lstat("/etc/runlevels/default/" + name); err2 != nil && err == nil {
		return words(removed, err2)
	}
	return nil
}

func (openrc) active(ctx context.Context, name string) bool {
	_, err := command(ctx, "rc-service", name, "status")
	return err == nil
}
