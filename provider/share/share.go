// Package share serves a directory of the host to one machine as virtiofs.
//
// QEMU has no file server of its own, and virtiofsd must be installed and, in older
// versions, run as root. This server is part of the stead program and needs no
// privileges: package vhostuser reads and answers requests in the guest's memory,
// go-fuse implements their protocol, and package hostfs executes them inside the
// directory. On macOS, Virtualization.framework shares directories itself.
package share

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
)

// SharedInodes is how many files of its shares a guest should cache. It is half of what the
// server lets a guest know, because a guest looks at its cache only once per second.
const SharedInodes = 500_000

// Options describe one share.
type Options struct {
	Dir      string       // required: the directory to share
	Socket   string       // required: Unix socket to listen on; QEMU connects to it
	ReadOnly bool         // refuse changes with EROFS, whatever the guest does
	Log      *slog.Logger // default: discard
}

// Serve listens on o.Socket and serves the QEMU that connects. It returns nil when QEMU
// disconnects, or ctx's error. It ignores a connection that ends without a message: such
// a peer only tested whether the server listens.
//
// It needs a process of its own. While it runs, the umask is 0, because the guest's kernel
// has already applied its own, and the standard logger is discarded, because a guest can
// make go-fuse write to it.
func Serve(ctx context.Context, o Options) error {
	switch {
	case o.Dir == "":
		return errors.New("share: Options.Dir is required")
	case o.Socket == "":
		return errors.New("share: Options.Socket is required")
	}
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	return serve(ctx, o)
}
