//go:build linux

package agent

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/guest/lockwait"
)

// lockKeeper ends waits for file locks in a share if the thread that waits has a signal; see
// package lockwait.
type lockKeeper struct {
	read      func(attribute string) ([]byte, error) // reads an attribute of the share's root
	signalled func(thread int) (bool, error)
}

// errNoWaits says that the host's file server has no waits: Virtualization.framework's.
var errNoWaits = errors.New("the file server has no attribute for waits")

const (
	// lockPace is the pause between two questions, and lockHaste the one while a thread waits:
	// whoever ends a program expects that at once.
	lockPace  = time.Second
	lockHaste = 100 * time.Millisecond
)

// keepLockWaits serves the share that is mounted at dir for as long as the machine runs.
func keepLockWaits(ctx context.Context, log *slog.Logger, dir string) {
	k := lockKeeper{
		read:      func(attribute string) ([]byte, error) { return readShareAttribute(dir, attribute) },
		signalled: hasSignal,
	}
	told := false
	for pause := lockPace; sleepFor(ctx, pause); {
		waiting, err := k.round()
		if errors.Is(err, errNoWaits) {
			return
		}
		if err != nil && !told {
			told = true
			log.Warn("cannot end waits for file locks: programs that wait may not end when they get a signal", "dir", dir, "err", err)
		}
		if pause = lockPace; waiting {
			pause = lockHaste
		}
	}
}

// round ends the waits that must end. It reports whether any thread waits.
func (k lockKeeper) round() (waiting bool, err error) {
	value, err := k.read(lockwait.Attribute)
	if err != nil {
		return false, err
	}
	waits, err := lockwait.Decode(value)
	for _, w := range waits {
		end, signalErr := k.signalled(w.Thread)
		err = errors.Join(err, signalErr)
		if end {
			_, readErr := k.read(lockwait.Interrupt(w.ID))
			err = errors.Join(err, readErr)
		}
	}
	return len(waits) > 0, err
}

// readShareAttribute reads an attribute of the share at dir. While another file system covers the
// share, there is nothing to read.
func readShareAttribute(dir, attribute string) ([]byte, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return nil, fmt.Errorf("statfs %s: %w", dir, err)
	}
	if st.Type != unix.FUSE_SUPER_MAGIC {
		return nil, nil
	}
	value := make([]byte, lockwait.MaxSize)
	n, err := unix.Getxattr(dir, attribute, value)
	switch err {
	case nil:
		return value[:n], nil
	case unix.ENODATA, unix.EOPNOTSUPP, unix.EPERM:
		return nil, errNoWaits
	}
	return nil, fmt.Errorf("read the attribute %s of %s: %w", attribute, dir, err)
}

// hasSignal reports whether a thread has a signal to handle, or is gone. See proc_pid_status(5).
func hasSignal(thread int) (bool, error) {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(thread) + "/status")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return signalIn(status)
}

// signalIn reports whether a status has a signal that is pending, for the thread or the process,
// and not blocked.
func signalIn(status []byte) (bool, error) {
	masks := map[string]uint64{"SigPnd": 0, "ShdPnd": 0, "SigBlk": 0}
	found := 0
	lines := bufio.NewScanner(bytes.NewReader(status))
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		if _, ok := masks[name]; !ok {
			continue
		}
		mask, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		if err != nil {
			return false, fmt.Errorf("parse the signals of a thread: %w", err)
		}
		masks[name] = mask
		found++
	}
	if err := lines.Err(); err != nil || found < len(masks) {
		return false, errors.Join(errors.New("a thread's status does not have its signals"), err)
	}
	return (masks["SigPnd"]|masks["ShdPnd"])&^masks["SigBlk"] != 0, nil
}
