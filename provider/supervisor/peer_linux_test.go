package supervisor

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// dialAs connects to path as the effective user uid, on a thread that is then discarded.
func dialAs(uid int, path string) (net.Conn, error) {
	type result struct {
		fd  int
		err error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked, so that Go discards the thread
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); err == nil && e != 0 {
			err = e
		}
		if err == nil {
			err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		}
		done <- result{fd, err}
	}()
	r := <-done
	f := os.NewFile(uintptr(r.fd), path)
	defer f.Close()
	if r.err != nil {
		return nil, r.err
	}
	return net.FileConn(f)
}

func TestOtherUsersAreRefusedEvenIfTheSocketIsOpenToAll(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can change its user; CI runs as root")
	}
	path, l := ownSocket(t)
	if err := errors.Join(os.Chmod(filepath.Dir(path), 0o755), os.Chmod(path, 0o666)); err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("hello"))
			conn.Close()
		}
	}()
	for uid, want := range map[int]string{0: "hello", 65534: ""} {
		conn, err := dialAs(uid, path)
		if err != nil {
			t.Fatalf("as %d: %v", uid, err)
		}
		got, _ := io.ReadAll(conn) // a reset is silence too
		conn.Close()
		if string(got) != want {
			t.Errorf("user %d heard %q, want %q", uid, got, want)
		}
	}
}
