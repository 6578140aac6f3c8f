package kernel

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/cavaliergopher/cpio"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/stead-vm/stead/provider/guest"
)

func TestInitramfsHoldsAgentSettingsAndModules(t *testing.T) {
	k := Kernel{ModuleTree: write(t, map[string]string{
		"modules.dep":      "kernel/a.ko: kernel/b-c.ko.gz kernel/d.ko.xz kernel/e.ko.zst\nkernel/b-c.ko.gz:\nkernel/d.ko.xz:\nkernel/e.ko.zst:\n",
		"kernel/a.ko":      "module a",
		"kernel/b-c.ko.gz": string(gzipped(t, []byte("module b"))),
		"kernel/d.ko.xz":   string(xzed(t, []byte("module d"))),
		"kernel/e.ko.zst":  string(zstded(t, []byte("module e"))),
	})}
	boot := guest.Boot{Hostname: "dev", HostKey: "secret"}
	var b bytes.Buffer
	if err := Initramfs(&b, InitramfsOptions{Agent: []byte("the agent"), Boot: boot, Kernel: k, Modules: []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	settings, err := json.Marshal(boot)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"dev d755", "proc d755", "sys d755", "stead d755", "stead/modules d755",
		"init -755 the agent",
		"stead/boot.json -600 " + string(settings),
		"stead/modules/b_c.ko -600 module b",
		"stead/modules/d.ko -600 module d",
		"stead/modules/e.ko -600 module e",
		"stead/modules/a.ko -600 module a",
		"stead/modules/order -600 b_c.ko\nd.ko\ne.ko\na.ko\n",
	}
	if d := cmp.Diff(want, members(t, b.Bytes())); d != "" {
		t.Errorf("members mismatch (-want +got):\n%s", d)
	}
}

func TestInitramfsIsDeterministic(t *testing.T) {
	k := Kernel{ModuleTree: write(t, map[string]string{"modules.dep": "a.ko: b.ko\nb.ko:\n", "a.ko": "a", "b.ko": "b"})}
	o := InitramfsOptions{Agent: []byte("agent"), Boot: guest.Boot{Env: []string{"A=1", "B=2"}}, Kernel: k, Modules: []string{"a"}}
	var first, second bytes.Buffer
	if err := errors.Join(Initramfs(&first, o), Initramfs(&second, o)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the same options gave different bytes")
	}
}

func TestInitramfsFailures(t *testing.T) {
	agent := []byte("agent")
	tests := map[string]struct {
		options InitramfsOptions
		message string
	}{
		"no agent": {
			message: "Agent is required",
		},
		"an indexed module whose file is missing": {
			options: InitramfsOptions{Agent: agent, Modules: []string{"a"}, Kernel: Kernel{Release: "6.1", ModuleTree: write(t, map[string]string{"modules.dep": "a.ko:\n"})}},
			message: "module a of kernel 6.1",
		},
		"a damaged module": {
			options: InitramfsOptions{Agent: agent, Modules: []string{"a"}, Kernel: Kernel{Release: "6.1", ModuleTree: write(t, map[string]string{"modules.dep": "a.ko.gz:\n", "a.ko.gz": "text"})}},
			message: "module a of kernel 6.1",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := Initramfs(io.Discard, tt.options)
			if err == nil || !strings.Contains(err.Error(), tt.message) {
				t.Errorf("Initramfs = %v, want an error with %q", err, tt.message)
			}
		})
	}
	t.Run("a full disk", func(t *testing.T) {
		full := errors.New("no space left on device")
		if err := Initramfs(failingWriter{full}, InitramfsOptions{Agent: agent}); !errors.Is(err, full) {
			t.Errorf("Initramfs = %v, want %v", err, full)
		}
	})
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

// members lists an archive as "name mode content".
func members(t *testing.T, archive []byte) []string {
	t.Helper()
	var list []string
	r := cpio.NewReader(bytes.NewReader(archive))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if h.Mode.IsDir() {
			list = append(list, fmt.Sprintf("%s d%o", h.Name, h.Mode.Perm()))
		} else {
			list = append(list, fmt.Sprintf("%s -%o %s", h.Name, h.Mode.Perm(), data))
		}
	}
}

func xzed(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := xz.NewWriter(&b)
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstded(t *testing.T, data []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(data, nil)
}
