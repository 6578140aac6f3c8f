//go:build linux

package initsys

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// poll is the pause between two looks at something that an init makes when it is up.
const poll = 5 * time.Millisecond

// command runs one of the init's tools. The agent has no PATH of its own.
func command(ctx context.Context, name string, args ...string) ([]byte, error) {
	var path string
	for _, dir := range []string{"/usr/bin", "/bin", "/usr/sbin", "/sbin"} {
		if p := filepath.Join(dir, name); executable(p) {
			path = p
			break
		}
	}
	if path == "" {
		return nil, fmt.Errorf("%s is missing in this image", name)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "SYSTEMD_PAGER="}
	cmd.WaitDelay = time.Second // a daemon that a service leaves behind may hold the pipe
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return out, fmt.Errorf("%s did not answer in time: %w", name, context.Cause(ctx))
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	return out, err
}

func waitForFile(ctx context.Context, path, what string) error {
	for {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, context.Cause(ctx))
		case <-time.After(poll):
		}
	}
}

type systemd struct{}

// managerSocket appears when systemd takes commands from systemctl, before D-Bus runs.
const managerSocket = "/run/systemd/private"

func (systemd) ready(ctx context.Context) error {
	return waitForFile(ctx, managerSocket, "systemd does not take commands")
}

func (m systemd) enable(ctx context.Context, name string) error {
	out, err := command(ctx, "systemctl", "show", "--property=UnitFileState,ActiveState", "--", name)
	if err != nil {
		return words(out, err)
	}
	state := string(out)
	if !strings.Contains(state, "UnitFileState=enabled") {
		if out, err := command(ctx, "systemctl", "enable", "--quiet", "--", name); err != nil {
			return words(out, err)
		}
	}
	if strings.Contains(state, "ActiveState=active") {
		return nil
	}
	out, err = command(ctx, "systemctl", "start", "--", name)
	if err != nil {
		return words(out, err)
	}
	return nil
}

func (systemd) disable(ctx context.Context, name string) error {
	if out, err := command(ctx, "systemctl", "disable", "--quiet", "--now", "--", name); err != nil {
		return words(out, err)
	}
	return nil
}

func (systemd) active(ctx context.Context, name string) bool {
	_, err := command(ctx, "systemctl", "is-active", "--quiet", "--", name)
	return err == nil
}

type openrc struct{}

// ready waits until OpenRC has reached its runlevel: services started earlier would
// run twice.
func (openrc) ready(ctx context.Context) error {
	for {
		if level, err := os.ReadFile("/run/openrc/softlevel"); err == nil && strings.TrimSpace(string(level)) != "" {
			if _, err := os.Stat("/run/openrc/rc.starting"); err != nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("OpenRC has not reached its runlevel: %w", context.Cause(ctx))
		case <-time.After(poll):
		}
	}
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

func (openrc) disable(ctx context.Context, name string) error {
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
