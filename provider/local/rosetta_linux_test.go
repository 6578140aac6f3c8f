package local

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stead-vm/stead/provider/bundle"
	"github.com/stead-vm/stead/provider/platform"

	"github.com/stead-vm/stead/provider/host"
	"github.com/stead-vm/stead/provider/machine"

	"golang.org/x/crypto/ssh"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/hypervisor"
)

// rosettaHost is a hypervisor that appears to be on a Mac: QEMU emulates arm64, and another
// program takes the place of Rosetta.
type rosettaHost struct {
	hypervisor.Driver
	dir string // directory of the program
}

func (d rosettaHost) Capabilities(ctx context.Context) (hypervisor.Capabilities, error) {
	caps, err := d.Driver.Capabilities(ctx)
	caps.Archs, caps.Translates = []string{"arm64"}, "amd64"
	return caps, err
}

func (d rosettaHost) Validate(ctx context.Context, c hypervisor.Config) error {
	c.Rosetta = false
	return d.Driver.Validate(ctx, c)
}

func (d rosettaHost) Start(ctx context.Context, c hypervisor.Config) (hypervisor.VM, error) {
	if c.Rosetta && d.dir != "" {
		c.Shares = append(c.Shares, hypervisor.Share{Tag: guest.RosettaTag, Path: d.dir, ReadOnly: true})
	}
	c.Rosetta = false
	return d.Driver.Start(ctx, c)
}

// newRosettaHost creates a state directory with a machine "dev" of an amd64 image and an arm64
// kernel. It skips the test if STEAD_TEST_VM is not set.
func newRosettaHost(t *testing.T, translator string) *Provider {
	t.Helper()
	images := os.Getenv("STEAD_TEST_IMAGES")
	if os.Getenv("STEAD_TEST_VM") == "" || images == "" {
		t.Skip("STEAD_TEST_VM is not set; make vm sets it")
	}
	kernels, err := filepath.Glob(filepath.Join(images, "arm64/kernel/boot/vmlinuz-*"))
	if err != nil || len(kernels) != 1 {
		t.Fatalf("kernels: %v, %v", kernels, err)
	}
	t.Setenv("HOME", t.TempDir())
	p, err := New(Options{Home: t.TempDir(), Exe: os.Args[0], Version: "test", Accel: "tcg", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if translator != "" {
		translator = filepath.Join(images, translator)
	}
	p.Loader.Driver = rosettaHost{p.Loader.Driver, translator}
	user := host.User()
	err = p.Create(t.Context(), machine.Spec{
		ID: "dev", Image: "oci:" + filepath.Join(images, "small") + ":busybox", Platform: platform.Platform{OS: "linux", Architecture: "amd64"}, User: user,
		Settings: machine.Settings{CPUs: 1, Memory: 1 << 30, Disk: 1 << 30, Kernel: kernels[0], HomeMount: machine.HomeReadWrite},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// superviseHere runs the machine's supervisor in this process until the test ends, and returns
// its report.
func superviseHere(t *testing.T, p *Provider) error {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Supervise(ctx, "dev", w) }()
	t.Cleanup(func() {
		_ = p.Stop(context.Background(), "dev", StopOptions{Force: true}) // fails if it has not started
		stop()
		err := <-ended
		if t.Failed() {
			console, _ := os.ReadFile(p.Bundles.Bundle("dev").Path(bundle.ConsoleLog))
			t.Logf("the supervisor ended with %v; console:\n%s", err, console)
		}
	})
	return readReport(r, "dev")
}

// With a shared translator, an amd64 image, including its init, boots on an arm64 kernel, as
// with Apple's tool on a Mac.
func TestAmd64ImageIsTranslatedOnAnArm64Kernel(t *testing.T) {
	p := newRosettaHost(t, "arm64/rosetta")
	if err := superviseHere(t, p); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	client, err := p.Machines.Supervisor("dev").SSH(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	// Use full paths: busybox would run its applets from its own program under another name,
	// which a translator does not see.
	told := rootOutput(t, client, "/bin/cat /proc/sys/kernel/arch /run/stead/binfmt_misc/rosetta; /bin/readlink /proc/1/exe; "+
		"/bin/touch /run/stead/rosetta/x 2>&1 || /usr/bin/head -c 20 /bin/busybox")
	for what, want := range map[string]string{
		"the kernel's processor":     "aarch64\n",
		"the registration":           "enabled\ninterpreter /run/stead/rosetta/rosetta\nflags: OCF\n",
		"the program of process 1":   "\n/run/stead/rosetta/rosetta\n",
		"the translator's directory": "Read-only file system",
		"the image's program":        "\x7fELF\x02\x01",
		"its processor":              "\x3e\x00", // EM_X86_64
	} {
		if !strings.Contains(told, want) {
			t.Errorf("%s: %q is not in %q", what, want, told)
		}
	}
	if err := p.Stop(ctx, "dev", StopOptions{}); err != nil {
		t.Error(err)
	}
}

// The error names the missing translator, not only the init that does not start.
func TestMissingTranslatorIsReported(t *testing.T) {
	p := newRosettaHost(t, "")
	if err := superviseHere(t, p); err == nil || !strings.Contains(err.Error(), "cannot run amd64 programs") {
		t.Errorf("the supervisor reports %v", err)
	}
}

// rootOutput returns the output of a command as root, because only root sees what process 1 runs.
func rootOutput(t *testing.T, client *ssh.Client, command string) string {
	t.Helper()
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if err := session.Setenv(guest.EnvUser, "root"); err != nil {
		t.Fatal(err)
	}
	out, err := session.CombinedOutput(command)
	if err != nil {
		t.Errorf("%s: %v: %s", command, err, out)
	}
	return string(out)
}
