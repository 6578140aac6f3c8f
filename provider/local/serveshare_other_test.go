//go:build !linux

package local_test

import "errors"

// serveShare has no machine to serve: that of another system brings its own file server.
func serveShare([]string) error { return errors.ErrUnsupported }
