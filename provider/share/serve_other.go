//go:build !linux

package share

import (
	"context"
	"fmt"
	"runtime"
)

func serve(context.Context, Options) error {
	return fmt.Errorf("no file server on %s: stead shares directories with QEMU on Linux only", runtime.GOOS)
}
