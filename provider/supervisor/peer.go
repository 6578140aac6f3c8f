package supervisor

import (
	"net"
	"os"
)

// listen creates a Unix socket that only its owner and root may use.
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

// ownersListener closes connections of other users. The socket's mode keeps them out too,
// but it is set a moment after the socket is created, and a parent directory may be opened
// by mistake.
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

// peerUID returns the user who opened the connection.
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
