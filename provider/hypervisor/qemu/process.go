//go:build linux

package qemu

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/stead-vm/stead/provider/fault"

	"golang.org/x/sys/unix"
)

// process is a child that ends with this process.
type process struct {
	name   string
	cmd    *exec.Cmd
	stderr tail
	done   chan struct{}

	// To be read after done is closed.
	err      error // of Wait
	reported error // what the process itself reported; may be nil
}

// startProcess starts cmd, and logs what it prints on standard error. The kernel kills it when this process dies. What the process
// writes to report, which may be nil, becomes its error; startProcess takes and closes it.
func startProcess(name string, cmd *exec.Cmd, report *os.File, log *slog.Logger) (*process, error) {
	p := &process{name: name, cmd: cmd, done: make(chan struct{})}
	cmd.Stderr = io.MultiWriter(&p.stderr, &lineLog{log: log, name: name})
	// A process group of its own, so that a terminal's Ctrl-C does not reach it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	cmd.WaitDelay = time.Second
	started := make(chan error, 1)
	go func() {
		// The kernel sends the death signal when the thread that started the child ends,
		// and Go ends idle threads: this one must stay as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			p.reported = readReport(report)
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		if report != nil {
			report.Close()
		}
		return nil, p.failure(err)
	}
	return p, nil
}

// readReport returns the error that an ended process has written to report.
func readReport(report *os.File) error {
	if report == nil {
		return nil
	}
	defer report.Close()
	return fault.Read(report)
}

// kill ends the process and waits for it.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // fails only if it has ended already
	<-p.done
}

// killWithin is kill, but waits no longer than limit.
func (p *process) killWithin(limit time.Duration) {
	_ = p.cmd.Process.Kill() // fails only if it has ended already
	select {
	case <-p.done:
	case <-time.After(limit):
	}
}

// failure returns the error that the process reported, else err with the end of its
// standard error. Call it only when the process has ended.
func (p *process) failure(err error) error {
	if p.reported != nil {
		return fmt.Errorf("%s: %w", p.name, p.reported)
	}
	return &ProcessError{Process: p.name, Args: p.cmd.Args, Stderr: p.stderr.String(), Err: err}
}

// lineLog logs the lines that a process prints.
type lineLog struct {
	log  *slog.Logger
	name string
	line []byte // not yet ended
}

func (l *lineLog) Write(p []byte) (int, error) {
	l.line = append(l.line, p...)
	for {
		line, rest, ended := bytes.Cut(l.line, []byte("\n"))
		if !ended && len(line) < tailSize {
			return len(p), nil
		}
		l.log.Warn(l.name+" printed a message", "message", string(line))
		l.line = rest
	}
}

// tail keeps the last bytes written to it, enough for an error message. It is safe for
// concurrent use.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailSize = 8 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if extra := len(t.text) - tailSize; extra > 0 {
		t.text = append(t.text[:0], t.text[extra:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

// socketPair returns our end of a connection, and the other end as a file for a child to
// inherit. Without a path, there is nothing to guess, to clean up, or to be too long.
func socketPair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "socket"), os.NewFile(uintptr(fds[1]), "socket")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn, theirs, nil
}

// firstInheritedFD is a child's first descriptor after standard error.
const firstInheritedFD = 3

// inheritance holds the files that a child inherits.
type inheritance []*os.File

// add gives f to the child and returns its number there.
func (i *inheritance) add(f *os.File) int {
	*i = append(*i, f)
	return firstInheritedFD + len(*i) - 1
}

// close closes our copies. It may be called more than once.
func (i *inheritance) close() {
	for _, f := range *i {
		f.Close()
	}
	*i = nil
}
