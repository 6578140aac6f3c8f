package logfile

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// newLog returns an empty log whose files hold 100 bytes.
func newLog(t *testing.T) (*Writer, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "console.log")
	w, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	w.limit = 100
	return w, path
}

func write(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if n, err := io.WriteString(w, text); err != nil || n != len(text) {
		t.Fatalf("Write = %d, %v, want %d", n, err, len(text))
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	var b bytes.Buffer
	if err := Copy(t.Context(), &b, path, false); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestLogKeepsItsEndInTwoBoundedFiles(t *testing.T) {
	tests := map[string]struct {
		writes []string
		want   string
	}{
		"nothing":                      {nil, ""},
		"less than a file":             {[]string{"a\n", "b\n"}, "a\nb\n"},
		"exactly a file":               {[]string{strings.Repeat("x", 100)}, strings.Repeat("x", 100)},
		"a write across both files":    {[]string{strings.Repeat("x", 90), strings.Repeat("y", 20)}, strings.Repeat("x", 90) + strings.Repeat("y", 20)},
		"more than both files hold":    {[]string{strings.Repeat("x", 100), strings.Repeat("y", 100), "z"}, strings.Repeat("y", 100) + "z"},
		"one write over several files": {[]string{strings.Repeat("x", 250) + strings.Repeat("y", 10)}, strings.Repeat("x", 150) + strings.Repeat("y", 10)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w, path := newLog(t)
			for _, text := range tt.writes {
				write(t, w, text)
			}
			if got := read(t, path); got != tt.want {
				t.Errorf("the log is %q, want %q", got, tt.want)
			}
			for _, file := range []string{path, Older(path)} {
				if info, err := os.Stat(file); err == nil && (info.Size() > 100 || info.Mode().Perm() != 0o600) {
					t.Errorf("%s has %d bytes and mode %v, want at most 100 and 0600", file, info.Size(), info.Mode())
				}
			}
		})
	}
}

func TestLogGoesOnWhereAnEarlierProcessEnded(t *testing.T) {
	w, path := newLog(t)
	write(t, w, strings.Repeat("x", 99))
	w.Close()
	again, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	again.limit = 100
	write(t, again, "yz")
	if got, want := read(t, path), strings.Repeat("x", 99)+"yz"; got != want {
		t.Errorf("the log is %q, want %q", got, want)
	}
}

func TestWriterReportsEachFile(t *testing.T) {
	var files []string
	path := filepath.Join(t.TempDir(), "supervisor.log")
	w, err := Open(path, func(f *os.File) { files = append(files, f.Name()) })
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	w.limit = 10
	write(t, w, strings.Repeat("x", 25))
	if len(files) != 3 {
		t.Errorf("reported %d files, want 3", len(files))
	}
}

func TestWriterRecoversFromADirectoryThatWasGone(t *testing.T) {
	w, path := newLog(t)
	write(t, w, strings.Repeat("x", 100))
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, "lost"); err == nil {
		t.Error("a write without a directory succeeded")
	}
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, w, "found")
	if got := read(t, path); got != "found" {
		t.Errorf("the log is %q, want %q", got, "found")
	}
}

func TestMissingLogIsEmpty(t *testing.T) {
	if got := read(t, filepath.Join(t.TempDir(), "console.log")); got != "" {
		t.Errorf("the log is %q, want none", got)
	}
}

// signalling is a writer that reports each write.
type signalling struct {
	mu   sync.Mutex
	text strings.Builder
	more chan struct{}
}

func (s *signalling) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(p)
	select {
	case s.more <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (s *signalling) has(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.text.String(), text)
}

func TestFollowingSpansTheFiles(t *testing.T) {
	w, path := newLog(t)
	ctx, cancel := context.WithCancel(t.Context())
	out := &signalling{more: make(chan struct{}, 1)}
	done := make(chan error, 1)
	go func() { done <- Copy(ctx, out, path, true) }()
	var want strings.Builder
	for i := range 12 { // 480 bytes: five files
		line := fmt.Sprintf("line %02d %s\n", i, strings.Repeat("x", 31))
		want.WriteString(line)
		write(t, w, line)
		for !out.has(line) {
			<-out.more
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := out.text.String(); got != want.String() {
		t.Errorf("followed %q, want %q", got, want.String())
	}
}
