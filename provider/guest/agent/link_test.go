//go:build linux

package agent

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/creack/pty"
	"github.com/mdlayher/vsock"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/guest/portmux"
)

func TestFindLink(t *testing.T) {
	const port = "class/virtio-ports/vport2p1/name"
	tests := map[string]struct {
		files map[string]string
		vsock bool
		port  bool // the link is the port, whose device does not exist here
		none  bool
	}{
		"a port of our name":               {files: map[string]string{port: guest.AgentPortName}, port: true},
		"vsock":                            {vsock: true},
		"vsock beside another port":        {files: map[string]string{port: "org.qemu.guest_agent.0"}, vsock: true},
		"a port of our name, beside vsock": {files: map[string]string{port: guest.AgentPortName}, vsock: true, port: true},
		"nothing yet":                      {none: true},
		"only another port":                {files: map[string]string{port: "org.qemu.guest_agent.0"}, none: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			serve := findLink(tree(t, tt.files), func() bool { return tt.vsock })
			if (serve == nil) != tt.none {
				t.Fatalf("found a link: %v", serve != nil)
			}
			if serve == nil {
				return
			}
			var absent *os.PathError
			if tt.port && !errors.As(serve(nil), &absent) {
				t.Error("the link is not the port")
			}
		})
	}
}

func TestIsGuest(t *testing.T) {
	for cid, want := range map[uint32]bool{
		0: false, vsock.Local: false, vsock.Host: false, 1<<32 - 1: false, // no device
		3: true, 1 << 31: true,
	} {
		if got := isGuest(cid); got != want {
			t.Errorf("isGuest(%d) = %v", cid, got)
		}
	}
}

// conns is a listener with connections from these addresses.
type conns struct {
	net.Listener
	from []net.Addr
}

type conn struct {
	net.Conn
	from net.Addr
}

func (c conn) RemoteAddr() net.Addr { return c.from }

func (l *conns) Accept() (net.Conn, error) {
	if len(l.from) == 0 {
		return nil, net.ErrClosed
	}
	c, _ := net.Pipe()
	from := l.from[0]
	l.from = l.from[1:]
	return conn{c, from}, nil
}

func TestOnlyTheHostIsAccepted(t *testing.T) {
	from := func(cid uint32) net.Addr { return &vsock.Addr{ContextID: cid, Port: 1000} }
	ended := make(chan error, 1)
	l := fromHost{&conns{from: []net.Addr{from(vsock.Local), from(3), from(vsock.Host), from(vsock.Hypervisor), &net.UnixAddr{}, from(1<<32 - 1)}}, ended}
	var got []uint32
	for {
		c, err := l.Accept()
		if err != nil {
			break
		}
		got = append(got, c.RemoteAddr().(*vsock.Addr).ContextID)
	}
	if !slices.Equal(got, []uint32{vsock.Host}) {
		t.Errorf("accepted %v, want only the host", got)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener ended with %v", err)
	}
}

// polled closes f and returns a copy for Go's poller: a blocking read would keep the terminal
// open until data arrives.
func polled(t *testing.T, f *os.File) *os.File {
	t.Helper()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = errors.Join(unix.SetNonblock(fd, true), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), f.Name())
}

// A terminal's pair of devices is like a port: it hangs up when its other end closes.
func TestPortServesOneHostAfterAnother(t *testing.T) {
	device := filepath.Join(t.TempDir(), "port")
	c := newControl(quiet(), "")
	servers := map[uint32]server{guest.ControlPort: serveHTTP(c)}
	for range 2 {
		far, near, err := pty.Open()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := term.MakeRaw(int(near.Fd())); err != nil {
			t.Fatal(err)
		}
		_ = os.Remove(device)
		if err := os.Symlink(near.Name(), device); err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- servePort(device, servers) }()
		d := portmux.NewDialer(polled(t, far))
		client := guest.NewClient(d.Dial)
		if _, err := client.Status(t.Context()); err != nil {
			t.Error(err)
		}
		client.Close()
		d.Close() // and with it far
		near.Close()
		<-served
	}
}
