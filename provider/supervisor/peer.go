package supervisor

import (
	"net"
	"os"
)

// listen makes a unix socket that only its owner may use, and root.
func listen(path string) (net.Listener, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return ownersListener{l}, nil
}

// ownersListener hangs up on everybody else. The socket's mode does the same, but it is
// set a moment after the socket is made, and a folder above may be opened by mistake.
type ownersListener struct{ *net.UnixListener }

func (l ownersListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		if uid, err := peerUID(conn); err == nil && (uid == os.Getuid() || uid == 0) {
			return conn, nil
		}
		conn.Close()
	}
}

// peerUID is the user who opened the connection.
func peerUID(conn *net.UnixConn) (int, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var uid int
	var readErr error
	if err := raw.Control(func(fd uintptr) { uid, readErr = socketPeer(int(fd)) }); err != nil {
		return 0, err
	}
	return uid, readErr
}
