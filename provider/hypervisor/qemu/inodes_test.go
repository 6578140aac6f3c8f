//go:build linux

package qemu

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/hypervisor"
)

// The host must not hold every file open that a guest has ever looked at.
func TestGuestForgetsFilesOfItsShares(t *testing.T) {
	const folders, files, limit = 20, 100, 600
	l := newLab(t)
	l.config.CPUs = 1 // the kernel counts up to 160 free inodes per processor as in use
	dir := l.config.Shares[0].Path
	for i := range folders * files {
		folder := filepath.Join(dir, fmt.Sprint(i/files))
		err := errors.Join(os.MkdirAll(folder, 0o700), os.WriteFile(filepath.Join(folder, fmt.Sprint(i)), []byte("x"), 0o600))
		if err != nil {
			t.Fatal(err)
		}
	}
	l.driver.opts.ShareCommand = func(s hypervisor.Share, socket string) *exec.Cmd { return helper(helperHolder, s.Path, socket) }
	m := l.bootVsock(t, guest.Boot{
		Mounts: []guest.Mount{{Tag: l.config.Shares[0].Tag, Target: "/files"}}, SharedInodes: limit,
	}, func([]byte, *hypervisor.Config) {})
	if _, err := m.client.WaitReady(m.ctx); err != nil {
		t.Fatal(err)
	}
	c := m.connect()
	own := m.descriptors()

	reader := m.session(c)
	stdin, err1 := reader.StdinPipe()
	stdout, err2 := reader.StdoutPipe()
	if err := errors.Join(err1, err2, reader.Start("keep /files/7")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(stdout, make([]byte, len("up\n"))); err != nil {
		t.Fatal(err)
	}
	if n := m.descriptors() - own; n < files {
		t.Errorf("the host holds %d files while the guest has %d open", n, files)
	}
	if got := m.output(c, "walk /files"); got != fmt.Sprint(folders*files+1) { // plus the lab's greeting
		t.Errorf("the guest could read %s files", got)
	}
	m.awaitDescriptors(own + limit)
	if got := m.output(c, "walk /files/3"); got != fmt.Sprint(files) {
		t.Errorf("the guest could read %s files again", got)
	}
	stdin.Close()
	text, err := io.ReadAll(stdout)
	if err := errors.Join(err, reader.Wait()); err != nil || len(text) != files {
		t.Errorf("%d of %d files that were open throughout could be read: %v", len(text), files, err)
	}
}

// descriptors returns how many the share's server has, including its own.
func (m vsockMachine) descriptors() int {
	m.t.Helper()
	server := m.vm.(*vm).shares[0].process.cmd.Process.Pid
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", server))
	if err != nil {
		m.t.Fatal(err)
	}
	return len(open)
}

// awaitDescriptors waits until the share's server has at most limit.
func (m vsockMachine) awaitDescriptors(limit int) {
	m.t.Helper()
	first := m.descriptors()
	for {
		now := m.descriptors()
		if now <= limit {
			m.t.Logf("the server had %d descriptors, then %d", first, now)
			return
		}
		select {
		case <-m.ctx.Done():
			m.t.Fatalf("the server has %d descriptors, want %d at most", now, limit)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
