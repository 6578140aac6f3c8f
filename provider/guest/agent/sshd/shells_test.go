//go:build linux

package sshd_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stead-vm/stead/provider/guest/agent/account"
	"github.com/stead-vm/stead/provider/guest/agent/sshd"
)

// withLoginShell returns a client of a server whose user has the given shell, and the user's home.
func withLoginShell(t *testing.T, shell string) (c *ssh.Client, home string) {
	t.Helper()
	etc := t.TempDir()
	home = t.TempDir()
	passwd := fmt.Sprintf("%s:x:%d:%d::%s:%s\n", me, os.Getuid(), os.Getgid(), home, shell)
	if err := os.WriteFile(filepath.Join(etc, "passwd"), []byte(passwd), 0o644); err != nil {
		t.Fatal(err)
	}
	m := newMachineWith(t, func(o *sshd.Options) { o.Users = account.NewDB(etc) })
	return m.connect(t), home
}

// awaitFile returns the text of a file that is complete once it exists.
func awaitFile(t *testing.T, path string) string {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		text, err := os.ReadFile(path)
		if err == nil {
			return string(text)
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// What a user writes is the only text that their shell sees.
func TestTheShellGetsTheCommandAsItWasWritten(t *testing.T) {
	shell := filepath.Join(t.TempDir(), "odd")
	script := "#!/bin/sh\nfor a; do echo \"<$a>\"; done >out.new\nmv out.new out\n"
	if err := os.WriteFile(shell, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	const command = "it's (a) \"command\"; & $x\n| of two lines"
	for name, env := range map[string][]string{"attached": nil, "detached": {"STEAD_DETACH=1"}} {
		t.Run(name, func(t *testing.T) {
			c, home := withLoginShell(t, shell)
			if out, errs, status := run(t, session(t, c, env...), command); status != 0 || out+errs != "" {
				t.Fatalf("%q, %q, status %d", out, errs, status)
			}
			if got, want := awaitFile(t, filepath.Join(home, "out")), "<-c>\n<"+command+">\n"; got != want {
				t.Errorf("the shell got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestLoginShells(t *testing.T) {
	for _, name := range []string{"sh", "bash", "fish", "tcsh"} {
		t.Run(name, func(t *testing.T) {
			shell, err := exec.LookPath(name)
			if err != nil {
				t.Skip("needs ", name, ", which .ci/packages installs")
			}
			c, home := withLoginShell(t, shell)
			s := session(t, c, "STEAD_CWD=/usr", "GREETING=it's \"fine\"")
			if out, errs, status := run(t, s, `pwd; printenv GREETING; exit 7`); out != "/usr\nit's \"fine\"\n" || status != 7 {
				t.Errorf("a command said %q, %q, status %d", out, errs, status)
			}
			if out, errs, status := run(t, session(t, c, "STEAD_DETACH=1"), "sleep 0.1; echo started >out.new; mv out.new out"); status != 0 || out+errs != "" {
				t.Errorf("a detached command said %q, %q, status %d", out, errs, status)
			}
			if got := awaitFile(t, filepath.Join(home, "out")); got != "started\n" {
				t.Errorf("a detached command wrote %q", got)
			}
		})
	}
}

func TestADetachedCommandThatCannotStartIsAnError(t *testing.T) {
	c, _ := withLoginShell(t, "/no/such/shell")
	if _, errs, status := run(t, session(t, c, "STEAD_DETACH=1"), "true"); status != 127 || !strings.HasPrefix(errs, "stead: run /no/such/shell: ") {
		t.Errorf("stderr %q, status %d", errs, status)
	}
	c, _ = withLoginShell(t, "/bin/sh")
	if _, errs, status := run(t, session(t, c, "STEAD_DETACH=1", "STEAD_CWD=/no/where"), "true"); status != 126 {
		t.Errorf("stderr %q, status %d", errs, status)
	}
}
