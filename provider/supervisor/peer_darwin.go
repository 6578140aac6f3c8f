package supervisor

import "golang.org/x/sys/unix"

// socketPeer reads LOCAL_PEERCRED, see unix(4) of macOS.
func socketPeer(fd int) (uid int, err error) {
	c, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return 0, err
	}
	return int(c.Uid), nil
}
