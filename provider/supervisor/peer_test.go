package supervisor

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// ownSocket returns a path for a socket, short enough for every system.
func ownSocket(t *testing.T) (string, net.Listener) {
	t.Helper()
	dir, err := os.MkdirTemp("", "sv")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "own.sock")
	l, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return path, l
}

func TestOwnerIsAnswered(t *testing.T) {
	path, l := ownSocket(t)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = conn.Write([]byte("hello"))
		conn.Close()
	}()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got, err := io.ReadAll(conn); err != nil || string(got) != "hello" {
		t.Errorf("its owner heard %q, %v", got, err)
	}
}

func TestPeerUID(t *testing.T) {
	path, l := ownSocket(t)
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	if uid, err := peerUID(peer.(*net.UnixConn)); err != nil || uid != os.Getuid() {
		t.Errorf("peerUID = %d, %v, want %d", uid, err, os.Getuid())
	}
	peer.Close()
	if uid, err := peerUID(peer.(*net.UnixConn)); err == nil {
		t.Errorf("peerUID of a closed connection = %d, want an error", uid)
	}
}

func TestSocketPeerOfADirectoryFails(t *testing.T) {
	f, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if uid, err := socketPeer(int(f.Fd())); err == nil {
		t.Errorf("socketPeer of a directory = %d, want an error", uid)
	}
}
