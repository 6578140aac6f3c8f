//go:build linux

package qemu

import (
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a child that does not outlive us.
type process struct {
	name   string
	cmd    *exec.Cmd
	stderr tail
	done   chan struct{}
	err    error // of Wait; read it after done is closed
}

// startProcess starts cmd, to be killed by the kernel when we die.
func startProcess(name string, cmd *exec.Cmd) (*process, error) {
	p := &process{name: name, cmd: cmd, done: make(chan struct{})}
	cmd.Stderr = &p.stderr
	// A group of its own keeps a terminal's Ctrl-C from it.
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
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, p.failure(err)
	}
	return p, nil
}

// kill ends the process and waits for it.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // fails only when it has ended already
	<-p.done
}

// failure is err with what the process said.
func (p *process) failure(err error) error {
	return &ProcessError{Process: p.name, Args: p.cmd.Args, Stderr: p.stderr.String(), Err: err}
}

// tail keeps the end of what is written to it: enough for an error message, whatever
// a process repeats for days. It is safe for concurrent use.
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

// socketPair returns our end of a connection and the file of the other, for a child to
// inherit. No path means none to guess, to clean up, or to be too long.
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

// firstInheritedFD is the number of a child's first descriptor after the standard ones.
const firstInheritedFD = 3

// inheritance is the files that a child gets.
type inheritance []*os.File

// add gives f to the child and returns its number there.
func (i *inheritance) add(f *os.File) int {
	*i = append(*i, f)
	return firstInheritedFD + len(*i) - 1
}

// close closes our copies. It may be called again.
func (i *inheritance) close() {
	for _, f := range *i {
		f.Close()
	}
	*i = nil
}
