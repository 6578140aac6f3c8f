package supervisor

import "golang.org/x/sys/unix"

// socketPeer reads SO_PEERCRED, see unix(7).
func socketPeer(fd int) (uid int, err error) {
	c, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, err
	}
	return int(c.Uid), nil
}
