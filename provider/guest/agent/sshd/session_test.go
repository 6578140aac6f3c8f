//go:build linux

package sshd_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/stead-vm/stead/provider/guest/agent/sshd"
	"github.com/stead-vm/stead/provider/guest/portmux"
)

func TestCommands(t *testing.T) {
	m := newMachine(t)
	c := m.connect(t)
	tests := map[string]struct {
		env     []string
		command string
		stdout  string
		stderr  string // contained in
		status  int
	}{
		"the exit status is the command's":        {command: "exit 42", status: 42},
		"stdout and stderr stay apart":            {command: "echo out; echo err >&2", stdout: "out\n", stderr: "err\n"},
		"the user's shell expands the command":    {command: `x=1; echo $((x+1))`, stdout: "2\n"},
		"the working directory is the home":       {command: "pwd -P", stdout: m.home + "\n"},
		"the working directory can be chosen":     {env: []string{"STEAD_CWD=/usr"}, command: "pwd", stdout: "/usr\n"},
		"a missing working directory is an error": {env: []string{"STEAD_CWD=/no/where"}, command: "pwd", stderr: "working directory /no/where: no such file or directory", status: 126},
		"an unknown user is an error":             {env: []string{"STEAD_USER=nobody-here"}, command: "true", stderr: `user "nobody-here" is not in this machine's /etc/passwd`, status: 126},
		"variables of the client are passed on":   {env: []string{"COLOR=blue green"}, command: `echo "$COLOR"`, stdout: "blue green\n"},
		"the client's variables override":         {env: []string{"HOME=/elsewhere"}, command: `echo "$HOME"`, stdout: "/elsewhere\n"},
		"reserved variables are not passed on":    {env: []string{"STEAD_CWD=/"}, command: `env | grep -c ^STEAD_`, stdout: "0\n", status: 1},
		"the image's variables are there":         {command: `echo "$FROM_IMAGE"`, stdout: "yes\n"},
		"the session knows its user":              {command: `echo "$USER $LOGNAME $SHELL $HOME"`, stdout: me + " " + me + " /bin/sh " + m.home + "\n"},
		"stdin is empty by default":               {command: "cat; echo done", stdout: "done\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			out, errs, status := run(t, session(t, c, tt.env...), tt.command)
			if out != tt.stdout || !strings.Contains(errs, tt.stderr) || status != tt.status {
				t.Errorf("got stdout %q, stderr %q, status %d", out, errs, status)
			}
		})
	}
}

func TestBackgroundChildDoesNotHoldTheSession(t *testing.T) {
	c := newMachine(t).connect(t)
	pid, _, _ := run(t, session(t, c), "sleep 600 & echo $!")
	if _, _, status := run(t, session(t, c), "kill "+pid); status != 0 {
		t.Errorf("the child %q is gone", pid)
	}
}

func TestOutputOfAnEndedPipelineArrives(t *testing.T) {
	c := newMachine(t).connect(t)
	out, _, _ := run(t, session(t, c), "(sleep 0.01; echo late) & echo early")
	if out != "early\nlate\n" {
		t.Errorf("stdout = %q", out)
	}
}

func TestBigBinaryStreams(t *testing.T) {
	c := newMachine(t).connect(t)
	data := make([]byte, 5<<20)
	_, _ = rand.Read(data)
	s := session(t, c)
	var out, errs bytes.Buffer
	s.Stdin, s.Stdout, s.Stderr = bytes.NewReader(data), &out, &errs
	if err := s.Run("tee /dev/stderr"); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), data) || !bytes.Equal(errs.Bytes(), data) {
		t.Errorf("%d bytes came back as %d on stdout and %d on stderr, or changed", len(data), out.Len(), errs.Len())
	}
}

func TestEndOfStdinLeavesStdoutOpen(t *testing.T) {
	c := newMachine(t).connect(t)
	s := session(t, c)
	stdin, err1 := s.StdinPipe()
	stdout, err2 := s.StdoutPipe()
	if err := errors.Join(err1, err2, s.Start("cat; echo after the end")); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(stdin, "line")
	stdin.Close()
	out, err := io.ReadAll(stdout)
	if string(out) != "line\nafter the end\n" || err != nil {
		t.Errorf("stdout = %q, %v", out, err)
	}
	if err := s.Wait(); err != nil {
		t.Error(err)
	}
}

func TestSignals(t *testing.T) {
	c := newMachine(t).connect(t)
	t.Run("reach the whole process group", func(t *testing.T) {
		s := session(t, c)
		stdout, _ := s.StdoutPipe()
		if err := s.Start(`trap 'echo got TERM; exit 7' TERM; sh -c 'echo up; exec sleep 600' & wait`); err != nil {
			t.Fatal(err)
		}
		_, _ = io.ReadFull(stdout, make([]byte, len("up\n")))
		if err := s.Signal(ssh.SIGTERM); err != nil {
			t.Fatal(err)
		}
		out, _ := io.ReadAll(stdout)
		var exit *ssh.ExitError
		if err := s.Wait(); !errors.As(err, &exit) || exit.ExitStatus() != 7 || string(out) != "got TERM\n" {
			t.Errorf("ended with %v, stdout %q", err, out)
		}
	})
	t.Run("that end the command are reported", func(t *testing.T) {
		s := session(t, c)
		var exit *ssh.ExitError
		if err := s.Run("kill -KILL $$"); !errors.As(err, &exit) || exit.Signal() != "KILL" {
			t.Errorf("ended with %v, want signal KILL", err)
		}
	})
}

func TestDisconnectHangsUp(t *testing.T) {
	m := newMachine(t)
	plain := func(*ssh.Session) error { return nil }
	end := func(c *ssh.Client, _ *portmux.Dialer) { c.Close() }
	for name, tt := range map[string]struct {
		prepare    func(*ssh.Session) error
		disconnect func(*ssh.Client, *portmux.Dialer)
	}{
		"a command":                    {plain, end},
		"a terminal's command":         {func(s *ssh.Session) error { return s.RequestPty("xterm", 24, 80, nil) }, end},
		"a command whose link is lost": {plain, func(_ *ssh.Client, link *portmux.Dialer) { link.Close() }},
	} {
		t.Run(name, func(t *testing.T) {
			fifo := filepath.Join(t.TempDir(), "fifo")
			if err := syscall.Mkfifo(fifo, 0o600); err != nil {
				t.Fatal(err)
			}
			link := m.link(t)
			c := m.connectOver(t, link.Dial)
			s := session(t, c)
			stdout, _ := s.StdoutPipe()
			if err := errors.Join(tt.prepare(s), s.Start(fmt.Sprintf(`trap 'trap "" HUP; echo hup >%s; exit' HUP; echo up; while :; do sleep 0.02; done`, fifo))); err != nil {
				t.Fatal(err)
			}
			_, _ = io.ReadFull(stdout, make([]byte, len("up\n")))
			tt.disconnect(c, link)
			if got, err := os.ReadFile(fifo); string(got) != "hup\n" || err != nil {
				t.Errorf("the command saw %q, %v", got, err)
			}
		})
	}
}

func TestTerminal(t *testing.T) {
	c := newMachine(t).connect(t)
	s := session(t, c)
	if err := s.RequestPty("xterm-256color", 30, 100, ssh.TerminalModes{ssh.ECHO: 0, ssh.VERASE: 8}); err != nil {
		t.Fatal(err)
	}
	stdin, _ := s.StdinPipe()
	stdout, _ := s.StdoutPipe()
	if err := s.Start(`tty -s && echo "$TERM"; stty size; stty -a | grep -oE '[-]?echo |[ ;]erase = [^;]*' | tr '\n' ' '; echo; read _; stty size; exit 3`); err != nil {
		t.Fatal(err)
	}
	want := "xterm-256color\r\n30 100\r\n erase = ^H -echo  \r\n"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(stdout, got); err != nil || string(got) != want {
		t.Errorf("terminal shows %q (%v), want %q", got, err, want)
	}
	if err := s.WindowChange(40, 120); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(stdin)
	rest, _ := io.ReadAll(stdout)
	if string(rest) != "40 120\r\n" {
		t.Errorf("after the resize it shows %q", rest)
	}
	var exit *ssh.ExitError
	if err := s.Wait(); !errors.As(err, &exit) || exit.ExitStatus() != 3 {
		t.Errorf("ended with %v", err)
	}
}

func TestTerminalSignalGoesToTheForeground(t *testing.T) {
	c := newMachine(t).connect(t)
	s := session(t, c)
	if err := s.RequestPty("xterm", 24, 80, ssh.TerminalModes{ssh.ECHO: 0}); err != nil {
		t.Fatal(err)
	}
	stdout, _ := s.StdoutPipe()
	// With job control, the inner shell is a process group of its own.
	if err := s.Start(`set -m; sh -c 'trap "echo inner; exit" INT; echo up; while :; do sleep 0.02; done'; echo outer`); err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadFull(stdout, make([]byte, len("up\r\n")))
	if err := s.Signal(ssh.SIGINT); err != nil {
		t.Fatal(err)
	}
	if got, _ := io.ReadAll(stdout); string(got) != "inner\r\nouter\r\n" {
		t.Errorf("terminal shows %q", got)
	}
}

func TestShellIsALoginShell(t *testing.T) {
	m := newMachine(t)
	if err := os.WriteFile(filepath.Join(m.home, ".profile"), []byte("echo profile\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := session(t, m.connect(t))
	var out bytes.Buffer
	s.Stdout, s.Stdin = &out, strings.NewReader("echo $0\n")
	if err := errors.Join(s.Shell(), s.Wait()); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "profile\n-sh\n" {
		t.Errorf("shell wrote %q", got)
	}
}

func TestAnotherUser(t *testing.T) {
	needRoot(t)
	c := newMachine(t).connect(t)
	tests := map[string]struct {
		env     []string
		command string
		want    string
	}{
		"by name, with their groups":                   {[]string{"STEAD_USER=stranger"}, "id -u; id -G", "54321\n54321 4242\n"},
		"by uid":                                       {[]string{"STEAD_UID=54321"}, "id -u; echo $USER", "54321\nstranger\n"},
		"a uid overrides a name":                       {[]string{"STEAD_USER=tester", "STEAD_UID=54321"}, "id -u", "54321\n"},
		"a uid without an account":                     {[]string{"STEAD_UID=77", "STEAD_GID=88"}, "id -u; id -G; pwd", "77\n88\n/\n"},
		"a gid alone is an additional group":           {[]string{"STEAD_GID=1000"}, "id -G", "0 1000 4242\n"},
		"a gid with a uid is the primary group":        {[]string{"STEAD_UID=54321", "STEAD_GID=9"}, "id -G", "9 4242\n"},
		"terminal and agent socket belong to the user": {[]string{"STEAD_UID=54321"}, "test -O $SSH_AUTH_SOCK && test -O /dev/stdin && echo mine", "mine\r\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := session(t, c, tt.env...)
			if strings.Contains(tt.command, "SSH_AUTH_SOCK") {
				if err := errors.Join(agent.RequestAgentForwarding(s), s.RequestPty("xterm", 24, 80, nil)); err != nil {
					t.Fatal(err)
				}
			}
			if out, errs, _ := run(t, s, tt.command); out != tt.want {
				t.Errorf("got %q (stderr %q), want %q", out, errs, tt.want)
			}
		})
	}
}

func TestSFTPHasTheRightsOfTheSession(t *testing.T) {
	m := newMachine(t)
	c := m.connect(t)
	client := func(t *testing.T, env ...string) *sftp.Client {
		s := session(t, c, env...)
		in, err1 := s.StdinPipe()
		out, err2 := s.StdoutPipe()
		if err := errors.Join(err1, err2, s.RequestSubsystem("sftp")); err != nil {
			t.Fatal(err)
		}
		f, err := sftp.NewClientPipe(out, in)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	f := client(t)
	w, err := f.Create("relative.txt")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(w, "hello")
	w.Close()
	if got, err := os.ReadFile(filepath.Join(m.home, "relative.txt")); string(got) != "hello" || err != nil {
		t.Errorf("file holds %q, %v", got, err)
	}
	needRoot(t)
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.WriteFile(secret, []byte("x"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := client(t, "STEAD_USER=stranger").Open(secret); !errors.Is(err, os.ErrPermission) {
		t.Errorf("a stranger opened root's file: %v", err)
	}
}

func TestHoldDelaysASession(t *testing.T) {
	hold := make(chan struct{})
	m := newMachineWith(t, func(o *sshd.Options) { o.Hold = hold })
	s := session(t, m.connect(t))
	var out bytes.Buffer
	s.Stdout = &out
	if err := s.Start("echo started"); err != nil {
		t.Fatal(err)
	}
	close(hold)
	if err := s.Wait(); err != nil || out.String() != "started\n" {
		t.Errorf("said %q, %v", &out, err)
	}
}

func TestASessionTellsThatItWaitsForTheInit(t *testing.T) {
	for name, tt := range map[string]struct {
		prepare func(*ssh.Session) error
		want    string
		then    string // when the wait is over
	}{
		"of a command":  {func(*ssh.Session) error { return nil }, "stead: waiting for the machine's init to accept commands, for at most a minute after the boot\n", ""},
		"of a terminal": {func(s *ssh.Session) error { return s.RequestPty("xterm", 24, 80, nil) }, "stead: waiting for the machine's init to accept commands, for at most a minute after the boot\r\n", ""},
		"in a line that goes away": {
			func(s *ssh.Session) error { return s.Setenv("STEAD_PROGRESS", "120") },
			"Waiting for the machine's init to accept commands ...", "\r\x1b[K",
		},
		"in a line of a narrow terminal": {func(s *ssh.Session) error { return s.Setenv("STEAD_PROGRESS", "12") }, "Waiting for", "\r\x1b[K"},
	} {
		t.Run(name, func(t *testing.T) {
			hold := make(chan struct{})
			m := newMachineWith(t, func(o *sshd.Options) { o.Hold = hold })
			m.server.LimitPatience(time.Millisecond)
			s := session(t, m.connect(t))
			stderr, err := s.StderrPipe()
			if err := errors.Join(err, tt.prepare(s), s.Start("true")); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(tt.want))
			if _, err := io.ReadFull(stderr, got); err != nil || string(got) != tt.want {
				t.Errorf("stderr begins with %q, %v", got, err)
			}
			close(hold)
			if rest, err := io.ReadAll(stderr); string(rest) != tt.then || err != nil {
				t.Errorf("stderr goes on with %q, %v", rest, err)
			}
			if err := s.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}
