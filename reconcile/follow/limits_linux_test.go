package follow

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// inNamespace is set in the process with a limit on watches.
const inNamespace = "STEAD_TEST_FEW_WATCHES"

// TestFollowerBeyondTheLimitOnWatches runs itself in a user namespace, so that the limit does
// not affect other processes.
func TestFollowerBeyondTheLimitOnWatches(t *testing.T) {
	if os.Getenv(inNamespace) == "" {
		cmd := exec.Command(os.Args[0], "-test.v", "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), inNamespace+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		}
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Skipf("no user namespaces here: %v; CI also runs this as root, who can create them", err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v\n%s", err, &out)
		} else if strings.Contains(out.String(), "--- SKIP") {
			t.Skip(out.String())
		}
		return
	}
	if err := os.WriteFile("/proc/sys/user/max_inotify_watches", []byte("5"), 0); err != nil {
		t.Skip(err)
	}
	f := follow(t, false)
	for i := range 10 {
		f.do(fmt.Sprintf("mkdir context/%d", i))
	}
	paths := []Path{{Name: f.path("context"), Tree: true}}
	f.settle(paths)
	if f.watcher != nil {
		t.Error("ten directories are watched with a limit of five watches")
	}
	f.do("write context/9/file")
	f.expect("a file", paths)
}

func TestFollowerPollsNetworkFileSystems(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to mount a file system; CI also runs this as root")
	}
	f := follow(t, false)
	f.do("mkdir there")
	f.do("mkdir here")
	f.do("write there/file")
	root, err := fs.NewLoopbackRoot(f.path("there"))
	if err != nil {
		t.Fatal(err)
	}
	moment := 10 * time.Millisecond
	server, err := fs.Mount(f.path("here"), root, &fs.Options{
		AttrTimeout: &moment, EntryTimeout: &moment, MountOptions: fuse.MountOptions{DirectMountStrict: true},
	})
	if err != nil {
		t.Skipf("no FUSE: %v; CI's hosts have /dev/fuse", err)
	}
	t.Cleanup(func() {
		if err := server.Unmount(); err != nil {
			t.Error(err)
		}
	})
	paths := []Path{{Name: f.path("here/file")}}
	f.settle(paths)
	f.do("write there/file")
	f.expect("a file written on the other side", paths)
}
