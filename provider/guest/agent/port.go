//go:build linux

package agent

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/guest/portmux"
)

// servePort serves over a virtio-serial port until the host's end starts again or is gone.
func servePort(device string, servers map[uint32]server) error {
	f, err := openPort(device)
	if err != nil {
		return err
	}
	mux := portmux.NewMux(f)
	defer mux.Close()
	for port, serve := range servers {
		l, err := mux.Listen(port)
		if err != nil {
			return err
		}
		go func() { _ = serve(l) }() // ends with the connection; Serve returns the error
	}
	return mux.Serve()
}

// findPort returns the device of the port with this name. sys is the mount point of sysfs.
func findPort(sys, name string) (string, bool) {
	files, _ := filepath.Glob(filepath.Join(sys, "class/virtio-ports/*/name")) // the pattern is valid
	for _, f := range files {
		if text, err := os.ReadFile(f); err == nil && strings.TrimSpace(string(text)) == name {
			return filepath.Join("/dev", filepath.Base(filepath.Dir(f))), true
		}
	}
	return "", false
}

// openPort opens a virtio-serial port for Go's poller. It returns once the host has opened
// the other end: until then a read would return io.EOF.
func openPort(device string) (*os.File, error) {
	fd, err := unix.Open(device, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: device, Err: err}
	}
	f := os.NewFile(uintptr(fd), device)
	raw, err := f.SyscallConn()
	if err == nil {
		err = raw.Write(func(fd uintptr) bool {
			state := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
			n, err := unix.Poll(state, 0)
			return err == nil && n == 1 && state[0].Revents&unix.POLLHUP == 0
		})
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
