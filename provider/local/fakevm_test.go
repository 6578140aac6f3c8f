package local_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/stead-vm/stead/provider/doctor"
	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/guest/jsonhttp"
	"github.com/stead-vm/stead/provider/hypervisor"
)

// fakeHypervisor runs machines in the process of their supervisor. They are ready at once,
// accept every service, and end with the process, as real ones do.
type fakeHypervisor struct{}

func newHypervisor() hypervisor.Driver { return fakeHypervisor{} }

func (fakeHypervisor) Capabilities(context.Context) (hypervisor.Capabilities, error) {
	return hypervisor.Capabilities{Archs: []string{runtime.GOARCH}}, nil
}

func (fakeHypervisor) Validate(context.Context, hypervisor.Config) error { return nil }

func (fakeHypervisor) Examine(context.Context) []doctor.Finding { return nil }

func (fakeHypervisor) NetworkSettings() hypervisor.NetworkSettings {
	return hypervisor.NetworkSettings{Address: "10.0.2.15/24"}
}

func (fakeHypervisor) Start(_ context.Context, c hypervisor.Config) (hypervisor.VM, error) {
	if _, err := os.Stat(c.Disks[0].Path); err != nil {
		return nil, err
	}
	vm := &fakeVM{calls: make(chan net.Conn), done: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) { jsonhttp.Answer(w, guest.Status{Ready: true}) })
	mux.HandleFunc("PUT /v1/clock", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("PUT /v1/services", func(w http.ResponseWriter, r *http.Request) {
		var body guest.Services
		_ = json.NewDecoder(r.Body).Decode(&body) // an unreadable request has no services
		states := []guest.ServiceState{}
		for _, name := range body.Want {
			states = append(states, guest.ServiceState{Name: name, Active: true})
		}
		jsonhttp.Answer(w, states)
	})
	mux.HandleFunc("POST /v1/shutdown", func(http.ResponseWriter, *http.Request) { vm.end(hypervisor.PoweredOff) })
	vm.agent = &http.Server{Handler: mux}
	go func() { _ = vm.agent.Serve(vm) }() // it ends with the machine
	return vm, nil
}

// fakeVM is a machine that consists only of an agent.
type fakeVM struct {
	agent *http.Server
	calls chan net.Conn

	once sync.Once
	done chan struct{}
	why  hypervisor.Reason
}

func (v *fakeVM) end(why hypervisor.Reason) {
	v.once.Do(func() {
		v.why = why
		close(v.done)
	})
}

func (v *fakeVM) Dial(ctx context.Context, port uint32) (net.Conn, error) {
	if port != guest.ControlPort {
		return nil, hypervisor.ErrUnsupported
	}
	ours, theirs := net.Pipe()
	select {
	case v.calls <- theirs:
		return ours, nil
	case <-v.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (v *fakeVM) Accept() (net.Conn, error) {
	select {
	case c := <-v.calls:
		return c, nil
	case <-v.done:
		return nil, net.ErrClosed
	}
}

func (v *fakeVM) Close() error   { return nil }
func (v *fakeVM) Addr() net.Addr { return &net.UnixAddr{Name: "agent"} }

func (v *fakeVM) PowerButton(context.Context) error { return errors.New("it has no power button") }

func (v *fakeVM) Paused() error                { return nil }
func (v *fakeVM) Resume(context.Context) error { return nil }

func (v *fakeVM) Kill(context.Context) error {
	v.end(hypervisor.Killed)
	return nil
}

func (v *fakeVM) Done() <-chan struct{} { return v.done }
func (v *fakeVM) Exit() hypervisor.Exit { return hypervisor.Exit{Reason: v.why} }
func (v *fakeVM) PID() int              { return 0 }

// fakeKernel returns a file that looks like a kernel for the host's processor with all features
// built in.
func fakeKernel(t testing.TB) string {
	t.Helper()
	image := make([]byte, 4096)
	switch runtime.GOARCH {
	case "arm64": // Documentation/arm64/booting.rst
		copy(image[0x38:], "ARM\x64")
	case "amd64": // Documentation/x86/boot.rst: boot flag, magic, a 64-bit entry
		copy(image[0x1fe:], "\x55\xaa")
		copy(image[0x202:], "HdrS")
		image[0x236] = 1
	}
	path := filepath.Join(t.TempDir(), "Image")
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
