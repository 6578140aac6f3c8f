package console

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	panicText = "[    1.2] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100\r\n" +
		"[    1.2] CPU: 0 PID: 1 Comm: init\r\n[    1.2] Call Trace:\r\n"
	endText = "[    1.3] ---[ end Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100 ]---\r\n"
	message = "Attempted to kill init! exitcode=0x00000100"
)

func TestPanicsAreReadFromTheConsole(t *testing.T) {
	tests := map[string]struct {
		before, text string
		panicked     bool
		halted       bool
	}{
		"a quiet boot":                             {text: "login: "},
		"an empty log":                             {},
		"a kernel that resets":                     {text: panicText, panicked: true},
		"a kernel that halts":                      {text: panicText + endText, panicked: true, halted: true},
		"a halt printed in part":                   {text: panicText + endText[:60], panicked: true},
		"a panic of an earlier boot":               {before: panicText + endText, text: "login: "},
		"a panic of an earlier boot, then nothing": {before: panicText + endText},
		"a running guest that prints a panic":      {text: panicText + endText + "login: ", panicked: true},
		"a panic after much else":                  {text: strings.Repeat("noise\n", 100_000) + panicText + endText, panicked: true, halted: true},
		"a panic before much else":                 {text: panicText + strings.Repeat("noise\n", 100_000)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "console.log")
			write(t, path, tt.before)
			log, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			write(t, path, tt.text)
			check(t, "Panic", log.Panic(), tt.panicked, path)
			check(t, "Halted", log.Halted(), tt.halted, path)
		})
	}
}

func check(t *testing.T, what string, err error, want bool, path string) {
	t.Helper()
	var gaveUp *PanicError
	if errors.As(err, &gaveUp) != want {
		t.Fatalf("%s = %v, want a panic: %v", what, err, want)
	}
	if want && (gaveUp.Message != message || !strings.Contains(gaveUp.Remedy(), path)) {
		t.Errorf("%s = %q, %q, want %q and the log's path", what, gaveUp.Message, gaveUp.Remedy(), message)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func TestLogIsReadableByItsOwnerOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "console.log")
	if _, err := Open(path); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("console log: %v, %v, want mode 0600", info, err)
	}
}

func TestNoLogHasNoPanic(t *testing.T) {
	log, err := Open("")
	if err := errors.Join(err, log.Panic(), log.Halted()); err != nil {
		t.Error(err)
	}
	log.Watch(nil, time.Millisecond, func(err error) { t.Error(err) })
}

func TestWatchReportsAHalt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "console.log")
	log, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan error, 2)
	left := make(chan struct{})
	go func() {
		defer close(left)
		log.Watch(t.Context().Done(), time.Millisecond, func(err error) { told <- err })
	}()
	write(t, path, panicText+endText)
	check(t, "Watch", <-told, true, path)
	<-left
}

func TestWatchEndsWithTheMachine(t *testing.T) {
	log, err := Open(filepath.Join(t.TempDir(), "console.log"))
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	close(gone)
	log.Watch(gone, time.Hour, func(err error) { t.Error(err) })
}
