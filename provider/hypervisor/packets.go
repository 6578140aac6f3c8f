package hypervisor

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Sizes of a [PacketPair]'s buffers, in bytes. Apple's documentation of
// VZFileHandleNetworkDeviceAttachment asks for a receive buffer of at least twice the
// send buffer, better four times.
const (
	packetSendBuffer    = 1 << 20
	packetReceiveBuffer = 4 << 20
)

// packetRetry is the pause before a frame that found no buffer is sent again.
const packetRetry = 100 * time.Microsecond

// PacketPair creates the wire of one network card: a pair of connected datagram sockets
// that carry one Ethernet frame per datagram. The machine's end is for [Network.Packets],
// the other for the switch.
func PacketPair() (machine *os.File, wire net.Conn, err error) {
	syscall.ForkLock.RLock() // macOS has no SOCK_CLOEXEC
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	machine, far := os.NewFile(uintptr(fds[0]), "card"), os.NewFile(uintptr(fds[1]), "wire")
	defer far.Close() // net.FileConn has its own copy
	for _, fd := range fds {
		err = errors.Join(err,
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, packetSendBuffer),
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, packetReceiveBuffer),
		)
	}
	var conn net.Conn
	if err == nil {
		conn, err = net.FileConn(far)
	}
	if err != nil {
		machine.Close()
		return nil, nil, err
	}
	return machine, packetConn{conn}, nil
}

// packetConn waits for buffer space. macOS does not: its datagram sockets fail with
// ENOBUFS instead of blocking the writer.
type packetConn struct{ net.Conn }

// Write sends one frame.
func (c packetConn) Write(frame []byte) (int, error) { return retryFull(c.Conn.Write, frame) }

func retryFull(write func([]byte) (int, error), frame []byte) (int, error) {
	for {
		n, err := write(frame)
		if !errors.Is(err, unix.ENOBUFS) {
			return n, err
		}
		time.Sleep(packetRetry)
	}
}
