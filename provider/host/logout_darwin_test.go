package host

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// standIn is a process that takes the place of the user's desktop session.
func standIn(t *testing.T) *exec.Cmd {
	t.Helper()
	session := exec.Command("cat")
	if _, err := session.StdinPipe(); err != nil { // for which it waits
		t.Fatal(err)
	}
	if err := session.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = session.Process.Kill()
		_ = session.Wait()
	})
	return session
}

func TestTheEndOfTheSessionIsToldAsSuch(t *testing.T) {
	session := standIn(t)
	ctx, release, err := untilExit(t.Context(), session.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if err := session.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	if why := context.Cause(ctx); !errors.Is(why, errLogout) {
		t.Errorf("it ended because %v", why)
	}
}

func TestAMachineThatIsGoneWaitsForNoLogout(t *testing.T) {
	session := standIn(t)
	ctx, release, err := untilExit(t.Context(), session.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if ctx.Err() != nil {
		t.Errorf("with the session it ended: %v", context.Cause(ctx))
	}
	release() // returns, though the session goes on
	if why := context.Cause(ctx); errors.Is(why, errLogout) {
		t.Errorf("it ended because %v", why)
	}
	if err := session.Process.Signal(unix.Signal(0)); err != nil {
		t.Errorf("the session is gone: %v", err)
	}
}

func TestACommandThatIsInterruptedWaitsForNoLogout(t *testing.T) {
	interrupted := errors.New("interrupted")
	parent, cancel := context.WithCancelCause(t.Context())
	ctx, release, err := untilExit(parent, standIn(t).Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	cancel(interrupted)
	<-ctx.Done()
	release()
	if why := context.Cause(ctx); !errors.Is(why, interrupted) {
		t.Errorf("it ended because %v", why)
	}
}

func TestASessionThatIsGoneAlreadyIsAnErrorAndEndsNothing(t *testing.T) {
	session := standIn(t)
	_ = session.Process.Kill()
	_ = session.Wait()
	ctx, release, err := untilExit(t.Context(), session.Process.Pid)
	defer release()
	if !errors.Is(err, unix.ESRCH) || ctx.Err() != nil {
		t.Errorf("untilExit = %v, and %v ended it", err, context.Cause(ctx))
	}
}

// With a desktop session, as most people have, and without, as over SSH.
func TestMachinesRunOnWhileTheirUserIsLoggedIn(t *testing.T) {
	session, err := desktopSession()
	if err != nil || session == os.Getpid() {
		t.Fatalf("desktopSession = %d, %v", session, err)
	}
	t.Logf("the session is process %d", session)
	ctx, release, err := UntilLogout(t.Context())
	if err != nil || ctx.Err() != nil {
		t.Errorf("UntilLogout = %v, and %v ended it", err, context.Cause(ctx))
	}
	release()
}
