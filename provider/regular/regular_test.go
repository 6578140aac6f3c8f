package regular

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stead-vm/stead/provider/size"
)

// places returns a directory with many kinds of files.
func places(t *testing.T) (dir string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "stead-regular") // t.TempDir is too long for a socket on macOS
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	at := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(at("file"), []byte("content"), 0o600))
	must(os.WriteFile(at("empty"), nil, 0o600))
	must(os.WriteFile(at("sparse"), nil, 0o600))
	must(os.Truncate(at("sparse"), 1<<40))
	must(syscall.Mkfifo(at("fifo"), 0o600))
	must(os.Mkdir(at("dir"), 0o700))
	socket, err := net.Listen("unix", at("socket"))
	must(err)
	t.Cleanup(func() { _ = socket.Close() })
	for link, target := range map[string]string{
		"link": "file", "link to fifo": "fifo", "link to zero": "/dev/zero", "link to nothing": "missing",
		"link to kmsg": "/proc/kmsg", "link to status": "/proc/self/status", "loop": "loop",
	} {
		must(os.Symlink(target, at(link)))
	}
	return dir
}

// within fails the test unless f returns soon.
func within(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("it waits")
	}
}

func TestReadFile(t *testing.T) {
	dir := places(t)
	tests := map[string]struct {
		want  string // content
		error string // without the path before it
		is    error
		linux bool
	}{
		"file":            {want: "content"},
		"link":            {want: "content"},
		"empty":           {},
		"fifo":            {error: " is a named pipe, not a regular file"},
		"link to fifo":    {error: " is a named pipe, not a regular file"},
		"socket":          {error: " is a socket, not a regular file"},
		"dir":             {error: " is a directory, not a regular file"},
		"link to zero":    {error: " is a device, not a regular file"},
		"link to status":  {error: " is a file of procfs, not a regular file", linux: true},
		"sparse":          {error: " is too large: it has 1.0 TiB, and the limit is 7 B"},
		"missing":         {is: fs.ErrNotExist},
		"link to nothing": {is: fs.ErrNotExist},
		"loop":            {is: syscall.ELOOP},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.linux && runtime.GOOS != "linux" {
				t.Skip("only Linux has it")
			}
			within(t, func() {
				path := filepath.Join(dir, name)
				got, err := ReadFile(path, 7)
				switch {
				case tt.is != nil && !errors.Is(err, tt.is):
					t.Errorf("error %v, want %v", err, tt.is)
				case tt.error != "" && (err == nil || err.Error() != path+tt.error):
					t.Errorf("error %v, want %s", err, path+tt.error)
				case tt.is == nil && tt.error == "" && (err != nil || string(got) != tt.want):
					t.Errorf("got %q, %v", got, err)
				}
			})
		})
	}
}

func TestReadFileLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	var large *SizeError
	if _, err := ReadFile(path, 6); !errors.As(err, &large) || large.Size != 7 || large.Limit != 6 {
		t.Errorf("one byte too many: %v", err)
	}
	if _, err := OpenAtMost(path, 6); !errors.As(err, &large) {
		t.Errorf("one byte too many: %v", err)
	}
}

// A file that the kernel makes is refused before its first byte, which may never come.
func TestOpenRefusesAFileThatWaits(t *testing.T) {
	dir := places(t)
	within(t, func() {
		if f, err := Open(filepath.Join(dir, "link to kmsg")); err == nil {
			_ = f.Close()
			t.Error("opened")
		}
	})
}

func TestOpenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := OpenFile(path, os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("C"), 0); err != nil {
		t.Error(err)
	}
	if got, err := io.ReadAll(f); string(got) != "Content" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, f.Fd(), syscall.F_GETFL, 0)
	if errno != 0 || flags&syscall.O_NONBLOCK != 0 {
		t.Errorf("the flag for opening is still set: %#x, %v", flags, errno)
	}
}

// A file that is replaced after the first look is refused too.
func TestAcceptLooksAtTheOpenFile(t *testing.T) {
	f, err := os.OpenFile(os.DevNull, os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var e *TypeError
	if err := accept(f, "replaced"); !errors.As(err, &e) || e.Type != "a device" {
		t.Errorf("accepted: %v", err)
	}
}

func TestRemedies(t *testing.T) {
	if r := (&TypeError{Path: "x", Type: "a named pipe"}).Remedy(); !strings.Contains(r, "copy what a named pipe provides") {
		t.Error(r)
	}
	if r := (&TypeError{Path: "x", Type: directory}).Remedy(); r != "name a file" {
		t.Error(r)
	}
	if e := (&SizeError{Path: "x", Size: 3 * size.GiB, Limit: 4 * size.MiB}).Error(); e != "x is too large: it has 3.0 GiB, and the limit is 4.0 MiB" {
		t.Error(e)
	}
}
