package ext4

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestTool(t *testing.T) {
	if os.Getenv("TOOL") == "" {
		t.Skip()
	}
	a := strings.Fields(os.Getenv("TOOL"))
	os.Remove(a[0])
	f, _ := os.Create(a[0])
	mb, _ := strconv.ParseInt(a[1], 10, 64)
	var ls []Layer
	for _, p := range a[2:] {
		ls = append(ls, Layer{p, func() (io.ReadCloser, error) { return os.Open(p) }})
	}
	t0 := time.Now()
	st, err := Write(context.Background(), f, ls, Options{Size: mb << 20, Digest: "sha256:abc"})
	f.Close()
	var ru syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &ru)
	fmt.Printf("%+v %v wall=%v cpu=%dms rss=%dMB\n", st, err, time.Since(t0), (ru.Utime.Nano()+ru.Stime.Nano())/1e6, ru.Maxrss/1024)
}
