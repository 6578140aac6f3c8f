package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creack/pty"
	"github.com/gofrs/flock"

	"github.com/stead-vm/stead/provider/local"
)

func TestTerminalSaysThatAMachineIsBeingStopped(t *testing.T) {
	for _, command := range []string{"stop dev", "stop --force dev", "rm --force dev"} {
		t.Run(command, func(t *testing.T) {
			home := t.TempDir()
			bundle := filepath.Join(home, "machines", "dev")
			if err := os.MkdirAll(bundle, 0o700); err != nil {
				t.Fatal(err)
			}
			p, err := local.New(local.Options{Home: home, Exe: "/nonexistent"})
			if err != nil {
				t.Fatal(err)
			}
			// The machine is off as soon as its supervisor's lock is free.
			alive := flock.New(filepath.Join(bundle, "supervisor.lock"))
			if ok, err := alive.TryLock(); err != nil || !ok {
				t.Fatal(ok, err)
			}
			screen, terminal, err := pty.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer screen.Close()
			defer terminal.Close()
			ended := make(chan int, 1)
			go func() {
				a := &app{out: &printer{io.Discard}, err: &printer{terminal}, provider: p}
				ended <- a.run(context.Background(), strings.Fields(command))
				terminal.Close() // ends the read below if nothing was said
			}()
			line, err := bufio.NewReader(screen).ReadString('\n')
			if want := "Stopping dev ...\r\n"; line != want {
				t.Errorf("said %q (%v), want %q", line, err, want)
			}
			if err := alive.Unlock(); err != nil {
				t.Fatal(err)
			}
			if code := <-ended; code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}
