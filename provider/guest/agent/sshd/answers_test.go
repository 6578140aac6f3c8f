//go:build linux

package sshd_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/guest/agent/sshd"
)

// hang mounts a file system that answers nothing until the end of the test.
func hang(t *testing.T, dir string) {
	t.Helper()
	needRoot(t)
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip("needs FUSE: ", err)
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)
	if err := unix.Mount("hangs", dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		unix.Close(fd)
		t.Skip("needs to mount FUSE: ", err)
	}
	t.Cleanup(func() {
		unix.Close(fd) // fails the requests that wait
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

func TestADirectoryThatHangsIsRefusedAndLeavesOtherSessionsAlone(t *testing.T) {
	dir := t.TempDir()
	hang(t, dir)
	m := newMachine(t)
	m.server.LimitLooks(10 * time.Millisecond)
	c := m.connect(t)
	// More than there may be looks at once: those that wait for one are refused, too.
	var all sync.WaitGroup
	for range sshd.MaxLooks + 4 {
		s := session(t, c, "STEAD_CWD="+filepath.Join(dir, "project"))
		all.Go(func() {
			var errs strings.Builder
			s.Stderr = &errs
			err := s.Run("true")
			if exit, ok := err.(*ssh.ExitError); !ok || exit.ExitStatus() != 126 {
				t.Errorf("ended with %v, want status 126", err)
			}
			if got := errs.String(); !strings.Contains(got, "working directory "+dir) || !strings.Contains(got, "file system hangs") || !strings.Contains(got, `"stead run -w / CMD"`) {
				t.Errorf("stderr = %q", got)
			}
		})
	}
	all.Wait()
	runtime.GC() // stops every thread, which one that forks does not allow
	if out, errs, status := run(t, session(t, c, "STEAD_CWD=/"), "pwd"); out != "/\n" || status != 0 {
		t.Errorf("a session in / said %q, %q, status %d", out, errs, status)
	}
}

func TestAHomeThatHangsIsNotMissing(t *testing.T) {
	m := newMachine(t)
	hang(t, m.home)
	m.server.LimitLooks(10 * time.Millisecond)
	_, errs, status := run(t, session(t, m.connect(t)), "true")
	if want := "working directory " + m.home + " does not answer: its file system hangs"; !strings.Contains(errs, want) || status != 126 {
		t.Errorf("stderr %q, status %d", errs, status)
	}
}

func TestAProgramThatHangsIsRefused(t *testing.T) {
	dir := t.TempDir()
	hang(t, dir)
	shell := filepath.Join(dir, "sh")
	m := newMachineWith(t, func(o *sshd.Options) { o.SFTP = []string{shell} })
	m.server.LimitLooks(10 * time.Millisecond)
	s := session(t, m.connect(t))
	stderr, err := s.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RequestSubsystem("sftp"); err != nil {
		t.Fatal(err)
	}
	if errs, _ := io.ReadAll(stderr); !strings.Contains(string(errs), "program "+shell+" does not answer: its file system hangs") {
		t.Errorf("stderr = %q", errs)
	}
}

// All sessions of a connection share its read loop, which waits for the one that takes no requests.
func TestASessionThatWaitsTakesItsRequests(t *testing.T) {
	hold := make(chan struct{})
	m := newMachineWith(t, func(o *sshd.Options) { o.Hold = hold })
	c := m.connect(t)
	s := session(t, c)
	stdout, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Start("stty size"); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if err := s.WindowChange(30, 100+i); err != nil {
			t.Fatal(err)
		}
	}
	session(t, c).Close() // answered by the server's read loop
	close(hold)
	if out, _ := io.ReadAll(stdout); string(out) != "30 199\r\n" {
		t.Errorf("the terminal shows %q", out)
	}
}

func TestASignalBeforeTheStartIsDelivered(t *testing.T) {
	hold := make(chan struct{})
	m := newMachineWith(t, func(o *sshd.Options) { o.Hold = hold })
	s := session(t, m.connect(t))
	if err := s.Start("sleep 600"); err != nil {
		t.Fatal(err)
	}
	if err := s.Signal(ssh.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if ok, err := s.SendRequest("window-change", true, nil); ok || err != nil { // answered after the signal was handled
		t.Fatalf("window-change without a terminal = %v, %v", ok, err)
	}
	close(hold)
	if exit, ok := s.Wait().(*ssh.ExitError); !ok || exit.Signal() != "TERM" {
		t.Errorf("ended with %v, want signal TERM", exit)
	}
}

func TestNothingStartsAfterTheEndOfItsSession(t *testing.T) {
	hold := make(chan struct{})
	m := newMachineWith(t, func(o *sshd.Options) { o.Hold = hold })
	dir := t.TempDir()
	file, socket := filepath.Join(dir, "started"), filepath.Join(dir, "ssh")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = m.server.Serve(l) // its error is that l is closed
	}()
	c := m.connectOver(t, func(context.Context, uint32) (net.Conn, error) { return net.Dial("unix", socket) })
	if err := session(t, c).Start("touch " + file); err != nil {
		t.Fatal(err)
	}
	c.Close()
	l.Close()
	select {
	case <-served:
	case <-time.After(time.Minute):
		t.Fatal("the session goes on without its client")
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a program was started for a session that had ended")
	}
}
