package local

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-vm/stead/provider/boot"
	"github.com/stead-vm/stead/provider/platform"

	"github.com/stead-vm/stead/provider/machine"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/klauspost/compress/zstd"

	"github.com/stead-vm/stead/provider/hypervisor"
	"github.com/stead-vm/stead/provider/kernel"
)

// appleDriver runs no machines, on a host with Apple silicon.
type appleDriver struct {
	idleDriver
	sharedInodes int
}

func (d appleDriver) Capabilities(context.Context) (hypervisor.Capabilities, error) {
	return hypervisor.Capabilities{Archs: []string{"arm64"}, SharedInodes: d.sharedInodes}, nil
}

// publisher serves the archive of a kernel and counts requests.
type publisher struct {
	kernel.Archive
	asked atomic.Int32
	wrong atomic.Bool // serve other contents
	stall atomic.Bool // serve half of the archive, then hang

	mu     sync.Mutex
	ranges []string // of the requests
}

// newPublisher serves a kernel with the given release.
func newPublisher(t *testing.T, release string) *publisher {
	t.Helper()
	var packed bytes.Buffer
	z, err := zstd.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	file := arm64Kernel(release)
	p := &publisher{}
	p.Member, p.Arch = "opt/vmlinux-"+release, "arm64"
	err = errors.Join(
		w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: p.Member, Mode: 0o644, Size: int64(len(file))}),
		second(w.Write(file)), w.Close(), z.Close(),
	)
	if err != nil {
		t.Fatal(err)
	}
	data := packed.Bytes()
	p.SHA256 = fmt.Sprintf("%x", sha256.Sum256(data))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		p.asked.Add(1)
		content := data
		if p.wrong.Load() {
			content = []byte("tampered with")
		}
		p.mu.Lock()
		p.ranges = append(p.ranges, q.Header.Get("Range"))
		p.mu.Unlock()
		if p.stall.Load() && q.Header.Get("Range") == "" {
			w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			_, _ = w.Write(content[:len(content)/2])
			w.(http.Flusher).Flush()
			<-q.Context().Done()
			return
		}
		http.ServeContent(w, q, "", time.Time{}, bytes.NewReader(content))
	}))
	t.Cleanup(srv.Close)
	p.URL = srv.URL + "/kernel.tar.zst"
	return p
}

func second(_ int, err error) error { return err }

func arm64Kernel(release string) []byte {
	file := make([]byte, 4096)
	copy(file[0x38:], "ARM\x64") // Documentation/arm64/booting.rst
	return append(file, "Linux version "+release+" (builder@example)\x00"...)
}

// newMac returns a provider as on Apple silicon, with the publisher's kernel as the default.
func newMac(t *testing.T, pub *publisher) (*Provider, machine.Spec) {
	t.Helper()
	p := newProvider(t)
	p.Loader.Driver, p.Loader.Agent = appleDriver{}, func(string) (boot.Agent, error) { return idleAgent{}, nil }
	p.Loader.Kernels = kernel.FetchedDefaults{
		Installed: filepath.Join(t.TempDir(), "kernels"), Archive: pub.Archive,
		Dir: p.kernelsDir(), Downloads: p.Images, Log: slog.New(slog.DiscardHandler),
	}
	s := tiny(t, "1")
	s.Platform, s.Image = platform.Platform{OS: "linux", Architecture: "arm64"}, arm64Image(t)
	return p, s
}

// arm64Image imports an image for arm64 and returns its reference.
func arm64Image(t *testing.T) string {
	t.Helper()
	layer, err := tarball.LayerFromFile(tinyRoot(t, "1"))
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config.OS, config.Architecture = "linux", "arm64"
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path, err := layout.Write(dir, empty.Index)
	if err == nil {
		err = path.AppendImage(img)
	}
	if err != nil {
		t.Fatal(err)
	}
	return "oci:" + dir
}

func kill(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
}
