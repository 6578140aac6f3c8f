//go:build !linux

package local_test

import "errors"

// serveShare is only needed on Linux.
func serveShare([]string) error { return errors.ErrUnsupported }
