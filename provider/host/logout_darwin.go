package host

import (
	"context"
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// loginWindow is the process that lives as long as a desktop session. It belongs to the
// session's user, and keeps running when another user switches to the screen.
const loginWindow = "loginwindow"

// errLogout is the cause of stopping machines when their user logs out.
var errLogout = errors.New("its user has logged out")

// UntilLogout returns a context that ends with ctx, or when the user logs out of the desktop.
// At a logout macOS does not stop processes in sessions of their own, and often powers off
// next, with no time for a guest to shut down. Without a desktop session, as over SSH, it
// returns ctx. Call release when the machine is stopped.
func UntilLogout(ctx context.Context) (_ context.Context, release func(), err error) {
	session, err := desktopSession()
	if err != nil || session == 0 {
		return ctx, func() {}, err
	}
	return untilExit(ctx, session)
}

// untilExit returns a context that ends with ctx, or with errLogout when the process ends.
func untilExit(ctx context.Context, pid int) (_ context.Context, release func(), err error) {
	queue, err := unix.Kqueue()
	if err != nil {
		return ctx, func() {}, os.NewSyscallError("kqueue", err)
	}
	unix.CloseOnExec(queue)
	const wake = 1 // the event by which release ends the wait
	_, err = unix.Kevent(queue, []unix.Kevent_t{
		{Ident: uint64(pid), Filter: unix.EVFILT_PROC, Flags: unix.EV_ADD | unix.EV_ONESHOT, Fflags: unix.NOTE_EXIT},
		{Ident: wake, Filter: unix.EVFILT_USER, Flags: unix.EV_ADD | unix.EV_CLEAR},
	}, nil, nil)
	if err != nil {
		unix.Close(queue)
		return ctx, func() {}, os.NewSyscallError("kevent", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var waiting sync.WaitGroup
	waiting.Go(func() {
		for events := make([]unix.Kevent_t, 1); ; {
			n, err := unix.Kevent(queue, nil, events, nil)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if n == 1 && events[0].Filter == unix.EVFILT_PROC {
				cancel(errLogout)
			}
			return
		}
	})
	return ctx, func() {
		_, _ = unix.Kevent(queue, []unix.Kevent_t{{Ident: wake, Filter: unix.EVFILT_USER, Fflags: unix.NOTE_TRIGGER}}, nil, nil)
		waiting.Wait()
		unix.Close(queue)
		cancel(nil)
	}, nil
}

// desktopSession returns the pid of the user's desktop session, or 0 if there is none.
func desktopSession() (pid int, err error) {
	mine, err := unix.SysctlKinfoProcSlice("kern.proc.uid", os.Getuid())
	if err != nil {
		return 0, os.NewSyscallError("sysctl kern.proc.uid", err)
	}
	for _, p := range mine {
		if unix.ByteSliceToString(p.Proc.P_comm[:]) == loginWindow {
			return int(p.Proc.P_pid), nil
		}
	}
	return 0, nil
}
