//go:build linux

package sshd_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh/agent"
)

// openSSH returns a function that creates commands of OpenSSH's clients for m.
func openSSH(t *testing.T, m *machine) func(args ...string) *exec.Cmd {
	t.Helper()
	for _, tool := range []string{"ssh", "sftp"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s (package openssh-client), which CI installs", tool)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { defer close(served); _ = m.server.Serve(l) }()
	t.Cleanup(func() { l.Close(); <-served })
	dir := t.TempDir()
	key, known := filepath.Join(dir, "key"), filepath.Join(dir, "known")
	_, port, _ := net.SplitHostPort(l.Addr().String())
	err1 := os.WriteFile(key, []byte(m.client.Private), 0o600)
	err2 := os.WriteFile(known, []byte("machine "+m.host.Public+"\n"), 0o600)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	options := []string{
		"-F", "none", "-i", key, "-o", "IdentitiesOnly=yes", "-o", "UserKnownHostsFile=" + known, "-o", "HostKeyAlias=machine",
		"-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-o", "StrictHostKeyChecking=yes", "-o", "Port=" + port,
	}
	return func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), args[0], append(options, args[1:]...)...)
		cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK=")
		return cmd
	}
}

func TestOpenSSH(t *testing.T) {
	m := newMachine(t)
	ssh := openSSH(t, m)
	data := make([]byte, 5<<20)
	_, _ = rand.Read(data)
	tests := map[string]struct {
		args   []string
		stdin  []byte
		stdout []byte
		stderr string
		status int
	}{
		"binary stdin comes back":      {args: []string{"127.0.0.1", "cat"}, stdin: data, stdout: data},
		"the exit status is passed":    {args: []string{"127.0.0.1", "echo no >&2; exit 9"}, stderr: "no\n", status: 9},
		"a fatal signal is an error":   {args: []string{"127.0.0.1", "kill -9 $$"}, status: 255},
		"a terminal can be requested":  {args: []string{"-tt", "127.0.0.1", "tty -s && echo yes"}, stdout: []byte("yes\r\n")},
		"a shell reads from stdin":     {args: []string{"-T", "127.0.0.1"}, stdin: []byte("echo $((6*7)); exit 5"), stdout: []byte("42\n"), status: 5},
		"variables are sent":           {args: []string{"-o", "SetEnv=STEAD_CWD=/usr COLOR=red", "127.0.0.1", "pwd; echo $COLOR"}, stdout: []byte("/usr\nred\n")},
		"remote forwarding is refused": {args: []string{"-o", "ExitOnForwardFailure=yes", "-R", "127.0.0.1:0:127.0.0.1:1", "127.0.0.1", "true"}, stderr: "remote port forwarding failed", status: 255},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cmd := ssh(append([]string{"ssh"}, tt.args...)...)
			var out, errs bytes.Buffer
			cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(tt.stdin), &out, &errs
			_ = cmd.Run()
			if !bytes.Equal(out.Bytes(), tt.stdout) || !strings.Contains(errs.String(), tt.stderr) || cmd.ProcessState.ExitCode() != tt.status {
				t.Errorf("got %d bytes %.60q, stderr %q, status %d", out.Len(), out.Bytes(), errs.String(), cmd.ProcessState.ExitCode())
			}
		})
	}
}

func TestOpenSSHForwardsItsAgent(t *testing.T) {
	m := newMachine(t)
	keyring := agent.NewKeyring()
	key, err := rawKey(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := keyring.Add(agent.AddedKey{PrivateKey: key, Comment: "forwarded"}); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _ = agent.ServeAgent(keyring, c); c.Close() }()
		}
	}()
	cmd := openSSH(t, m)("ssh", "-A", "127.0.0.1", "ssh-add -l; ssh-add -l; dirname $SSH_AUTH_SOCK")
	cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
	out, err := cmd.CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err != nil || len(lines) != 3 || !strings.Contains(lines[0], "forwarded") || lines[0] != lines[1] {
		t.Fatalf("ssh-add in the session says %q, %v", out, err)
	}
	if _, err := os.Stat(lines[2]); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket's directory %s still exists after the session (%v)", lines[2], err)
	}
}

func TestOpenSSHCopiesFiles(t *testing.T) {
	m := newMachine(t)
	data := make([]byte, 3<<20)
	_, _ = rand.Read(data)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "up"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := openSSH(t, m)("sftp", "-b", "-", "127.0.0.1")
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader("put up there\nchmod 600 there\nget there down\nls\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("sftp: %v\n%s", err, out)
	}
	got, err := os.ReadFile(filepath.Join(dir, "down"))
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes came back as %d or changed (%v)", len(data), len(got), err)
	}
}
