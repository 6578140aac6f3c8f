//go:build linux

package agent

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/guest"
)

// shareKeeper keeps shares in sight. An init mounts file systems of its own after the agent has
// mounted the shares: systemd a tmpfs on /tmp, others what the image's fstab has. One of them may
// cover a share that is mounted below it, and programs would write into it what is meant for the
// host. Such a share is mounted once more, on top.
type shareKeeper struct {
	log    *slog.Logger
	shares []guest.Mount // with targets as mountinfo has them

	mu    sync.Mutex     // held while a share is looked at and mounted
	again map[string]int // how often each target was mounted once more
}

const (
	// coverTime is how long after the boot the mounts are watched: as long as an init may take to
	// start. Later, each session looks.
	coverTime = 5 * time.Minute
	// maxAgain is how often a share is mounted once more. With more, the agent might hold up an
	// init that unmounts everything.
	maxAgain = 3
)

func newShareKeeper(log *slog.Logger, shares []guest.Mount) *shareKeeper {
	k := &shareKeeper{log: log, again: map[string]int{}}
	for _, s := range shares {
		// The target itself is the share's, whose server may hang.
		if dir, err := filepath.EvalSymlinks(filepath.Dir(s.Target)); err == nil {
			s.Target = filepath.Join(dir, filepath.Base(s.Target))
		}
		k.shares = append(k.shares, s)
	}
	return k
}

// run looks whenever the mounts change, as long as the init may still start.
func (k *shareKeeper) run() {
	changes, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		k.log.Warn("cannot watch whether the image's init covers the shared directories", "err", err)
		return
	}
	defer changes.Close()
	events := []unix.PollFd{{Fd: int32(changes.Fd()), Events: unix.POLLPRI}}
	told := ""
	for end := time.Now().Add(coverTime); ; {
		if err := k.check(func(guest.Mount) bool { return true }); err != nil && err.Error() != told {
			told = err.Error()
			k.log.Warn("a shared directory is out of sight", "err", err)
		}
		left := time.Until(end)
		if left <= 0 {
			return
		}
		_, _ = unix.Poll(events, int(left.Milliseconds())+1) // poll(2) reports each change once
	}
}

// enter uncovers the share that a session's directory is in. Its error says what covers it.
func (k *shareKeeper) enter(dir string) error {
	return k.check(func(s guest.Mount) bool { return within(dir, s.Target) })
}

// check uncovers those shares that concern the caller.
func (k *shareKeeper) check(concerns func(guest.Mount) bool) error {
	concerned := slices.DeleteFunc(slices.Clone(k.shares), func(s guest.Mount) bool { return !concerns(s) })
	if len(concerned) == 0 {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var problems []error
	for _, s := range concerned {
		problems = append(problems, k.uncover(s, mounts))
	}
	return errors.Join(problems...)
}

// uncover mounts a share once more if it is covered in mounts, the text of mountinfo.
func (k *shareKeeper) uncover(s guest.Mount, mounts []byte) error {
	mounted, by, err := coverOf(mounts, s)
	switch {
	case err != nil:
		return err
	case !mounted:
		return fmt.Errorf("the shared directory %s is no longer mounted", s.Target)
	case by == "":
		return nil
	case k.again[s.Target] >= maxAgain:
		return fmt.Errorf("the shared directory %s is covered by %s", s.Target, by)
	}
	k.again[s.Target]++
	if err := mountShare(s); err != nil {
		return fmt.Errorf("the shared directory %s is covered by %s: %w", s.Target, by, err)
	}
	k.log.Info("a shared directory was covered and is mounted once more", "dir", s.Target, "reason", by)
	return nil
}

// within reports whether path is dir or below it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// coverOf reports whether a share is mounted, and returns what covers it, or "". Mounts are listed
// in the order in which they were made; see proc_pid_mountinfo(5).
func coverOf(mountinfo []byte, s guest.Mount) (mounted bool, by string, err error) {
	for line := range bytes.Lines(mountinfo) {
		before, after, ok := strings.Cut(string(line), " - ")
		where, what := strings.Fields(before), strings.Fields(after)
		if !ok || len(where) < 5 || len(what) < 2 {
			return false, "", fmt.Errorf("parse the mount %q", strings.TrimSpace(string(line)))
		}
		point := unescapeMount(where[4])
		switch {
		case !within(s.Target, point) || point == "/":
		case point == s.Target && what[0] == "virtiofs" && what[1] == s.Tag:
			mounted, by = true, ""
		default:
			by = what[0] + " on " + point
		}
	}
	return mounted, by, nil
}

// unescapeMount decodes the octal escapes of blanks and backslashes in mountinfo.
func unescapeMount(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
