package host

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// fakeSession returns a process that stands in for the user's desktop session.
func fakeSession(t *testing.T) *exec.Cmd {
	t.Helper()
	session := exec.Command("cat")
	if _, err := session.StdinPipe(); err != nil { // cat runs until it is closed
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

func TestUntilExitEndsWithErrLogout(t *testing.T) {
	session := fakeSession(t)
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
		t.Errorf("the context ended with %v", why)
	}
}

func TestReleaseDoesNotWaitForTheLogout(t *testing.T) {
	session := fakeSession(t)
	ctx, release, err := untilExit(t.Context(), session.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if ctx.Err() != nil {
		t.Errorf("with the session it ended: %v", context.Cause(ctx))
	}
	release() // returns although the session still runs
	if why := context.Cause(ctx); errors.Is(why, errLogout) {
		t.Errorf("the context ended with %v", why)
	}
	if err := session.Process.Signal(unix.Signal(0)); err != nil {
		t.Errorf("the session is gone: %v", err)
	}
}

func TestInterruptDoesNotWaitForTheLogout(t *testing.T) {
	interrupted := errors.New("interrupted")
	parent, cancel := context.WithCancelCause(t.Context())
	ctx, release, err := untilExit(parent, fakeSession(t).Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	cancel(interrupted)
	<-ctx.Done()
	release()
	if why := context.Cause(ctx); !errors.Is(why, interrupted) {
		t.Errorf("the context ended with %v", why)
	}
}

func TestUntilExitOfAMissingProcess(t *testing.T) {
	session := fakeSession(t)
	_ = session.Process.Kill()
	_ = session.Wait()
	ctx, release, err := untilExit(t.Context(), session.Process.Pid)
	defer release()
	if !errors.Is(err, unix.ESRCH) || ctx.Err() != nil {
		t.Errorf("untilExit = %v, and %v ended it", err, context.Cause(ctx))
	}
}

// Works with a desktop session and without one, as over SSH.
func TestUntilLogoutDoesNotEndWhileLoggedIn(t *testing.T) {
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
