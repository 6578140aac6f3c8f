//go:build linux

package oom_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stead-vm/stead/provider/guest/agent/oom"
)

// TestMain is also the program that protects itself: a test process that did would protect the
// whole run.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "protect" {
		if err := report(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// report prints the scores of a child, of the child of a protected process, and then of that.
func report() error {
	for _, protect := range []func() error{func() error { return nil }, oom.Protect} {
		err := protect()
		if errors.Is(err, fs.ErrPermission) {
			fmt.Print("forbidden")
			return nil
		}
		var out bytes.Buffer
		cmd := exec.Command("/bin/sh", "-c", "cat /proc/self/oom_score_adj")
		cmd.Stdout = &out
		if err := errors.Join(err, oom.Start(cmd)); err != nil {
			return err
		}
		if err := cmd.Wait(); err != nil {
			return err
		}
		fmt.Print(strings.TrimSpace(out.String()), " ")
	}
	own, err := os.ReadFile("/proc/self/oom_score_adj")
	fmt.Print(strings.TrimSpace(string(own)))
	return err
}

func TestProgramsDoNotInheritTheProtection(t *testing.T) {
	own, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("/proc/self/exe", "protect").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if strings.Contains(string(out), "forbidden") {
		t.Skip("needs root to protect a process; the tests in machines check it too")
	}
	if want := strings.TrimSpace(string(own)) + " 0 -1000"; string(out) != want {
		t.Errorf("scores of a child, a protected process's child and that process: %s, want %s", out, want)
	}
}
