package local_test

import (
	"context"
	"flag"

	"github.com/stead-vm/stead/provider/share"
)

// serveShare runs the file server of a real machine.
func serveShare(args []string) error {
	var o share.Options
	flags := flag.NewFlagSet("serve-share", flag.ContinueOnError)
	flags.StringVar(&o.Dir, "dir", "", "")
	flags.StringVar(&o.Socket, "socket", "", "")
	_ = flags.Int("report", 0, "")
	flags.BoolVar(&o.ReadOnly, "read-only", false, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return share.Serve(context.Background(), o)
}
