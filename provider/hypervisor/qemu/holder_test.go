//go:build linux

package qemu

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/stead-vm/stead/provider/share/hostfs"
	"github.com/stead-vm/stead/provider/share/vhostuser"
)

// holder is our file system on a host that, like macOS, holds a descriptor for each file
// that the guest caches, so that a test can count them.
type holder struct {
	fuse.RawFileSystem

	mu    sync.Mutex
	known map[uint64]*knownFile // by node
}

type knownFile struct {
	open    *os.File
	lookups uint64 // that the guest has not taken back
}

// Lookup is the only way in which the guest of the tests caches a file: it creates none,
// and reading a directory does not return inodes.
func (h *holder) Lookup(cancel <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.RawFileSystem.Lookup(cancel, in, name, out)
	if !s.Ok() || out.NodeId == 0 {
		return s
	}
	if h.known[out.NodeId] == nil {
		f, err := os.Open(os.DevNull)
		if err != nil {
			return fuse.ToStatus(err)
		}
		h.known[out.NodeId] = &knownFile{open: f}
	}
	h.known[out.NodeId].lookups++
	return s
}

// Forget is called when the guest has dropped an inode.
func (h *holder) Forget(node, lookups uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.RawFileSystem.Forget(node, lookups)
	k := h.known[node]
	if k == nil {
		return
	}
	if k.lookups -= min(lookups, k.lookups); k.lookups == 0 {
		_ = k.open.Close()
		delete(h.known, node)
	}
}

// serveHolding serves dir to the first QEMU that connects.
func serveHolding(dir, socket string) error {
	files, err := hostfs.New(dir, hostfs.Options{})
	if err != nil {
		return err
	}
	protocol := fuse.NewProtocolServer(&holder{RawFileSystem: files, known: map[uint64]*knownFile{}}, &fuse.MountOptions{
		MaxWrite: 1 << 20, DisableReadDirPlus: true,
	})
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return err
	}
	conn, err := l.AcceptUnix()
	if err != nil {
		return err
	}
	err = vhostuser.Serve(context.Background(), conn, vhostuser.Device{
		Handle: func(q *vhostuser.Request) {
			go func() {
				n, _ := protocol.HandleRequest(q.In, q.Out)
				q.Done(n)
			}()
		},
		Log: slog.New(slog.DiscardHandler),
	})
	return errors.Join(err, l.Close(), files.Close())
}
