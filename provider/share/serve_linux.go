package share

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/share/vhostuser"
)

func serve(ctx context.Context, o Options) (err error) {
	listener, err := listen(o.Socket)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()

	umask := unix.Umask(0)
	defer unix.Umask(umask)
	log.SetOutput(io.Discard)
	defer log.SetOutput(os.Stderr)

	s := newServer(o)
	watching, rest := context.WithCancel(ctx)
	defer rest()
	go s.slow.watch(watching)
	defer func() { s.close(errors.Is(err, vhostuser.ErrStuck)) }()
	// Report a problem with the directory before QEMU starts.
	if err := s.renew(); err != nil {
		return fmt.Errorf("cannot share %s: %w", o.Dir, err)
	}
	device := vhostuser.Device{Handle: s.handle, Interrupt: s.interrupt, MaxIn: maxIn, MaxOut: maxOut, Log: o.Log}
	for {
		conn, err := listener.AcceptUnix()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("accept a connection of QEMU on %s: %w", o.Socket, err)
		}
		err = vhostuser.Serve(ctx, conn, device)
		if !errors.Is(err, vhostuser.ErrIdle) {
			return err
		}
	}
}

// listen replaces the socket of a server that has died, but not one that still answers.
func listen(path string) (*net.UnixListener, error) {
	addr := &net.UnixAddr{Name: path, Net: "unix"}
	l, err := net.ListenUnix("unix", addr)
	if errors.Is(err, unix.EADDRINUSE) {
		conn, derr := net.DialUnix("unix", nil, addr)
		if derr == nil {
			_ = conn.Close()
			return nil, fmt.Errorf("another server already listens on %s", path)
		}
		if !errors.Is(derr, unix.ECONNREFUSED) {
			return nil, err
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
		l, err = net.ListenUnix("unix", addr)
	}
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}
