// Package share serves a folder of the host to one machine as virtiofs.
//
// QEMU has no file server of its own, and the distributions' virtiofsd wants to
// be installed and, in its older form, to be root. This one is a part of our
// binary and needs no privileges: package vhostuser moves requests between the
// guest's memory and us, go-fuse speaks their protocol, and package hostfs
// carries them out beneath the folder. On macOS the framework shares folders
// itself, so there is nothing to serve.
package share

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
)

// Options describe one share.
type Options struct {
	Dir      string       // required: the folder to share
	Socket   string       // required: unix socket to listen on; QEMU connects to it
	ReadOnly bool         // changes are refused with EROFS, whatever the guest does
	Log      *slog.Logger // default: discard
}

// Serve listens on o.Socket, serves the QEMU that connects and returns nil when
// it has left, or ctx's error. A connection that ends without a message, as one
// that only tries whether we listen, is no QEMU and is ignored.
//
// It wants the process for itself: while it runs the umask is 0, because the
// guest's kernel has applied its own already, and the standard logger is mute,
// because go-fuse lets a guest write to it.
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
