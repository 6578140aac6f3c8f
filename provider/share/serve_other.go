//go:build !linux

package share

import (
	"context"
	"fmt"
	"runtime"
)

func serve(context.Context, Options) error {
	return fmt.Errorf("there is no file server for %s: folders are shared with QEMU on linux only", runtime.GOOS)
}
