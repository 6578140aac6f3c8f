package main

import (
	"crypto/ed25519"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stead-vm/stead/provider/local"
)

// fakeSSH is a machine that runs nothing: it lists the requests of sessions.
type fakeSSH struct {
	prints string // by a command that does not end; else a command ends at once

	mu   sync.Mutex
	asks []string
}

// connect returns a client of the machine.
func (f *fakeSSH) connect(t *testing.T) *ssh.Client {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(signer)
	go f.serve(l, config)
	client, err := ssh.Dial("tcp", l.Addr().String(), &ssh.ClientConfig{HostKeyCallback: ssh.InsecureIgnoreHostKey()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func (f *fakeSSH) serve(l net.Listener, config *ssh.ServerConfig) {
	c, err := l.Accept()
	if err != nil {
		return
	}
	_, channels, requests, err := ssh.NewServerConn(c, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for offer := range channels {
		channel, requests, err := offer.Accept()
		if err != nil {
			return
		}
		for r := range requests {
			f.mu.Lock()
			f.asks = append(f.asks, r.Type)
			f.mu.Unlock()
			_ = r.Reply(true, nil)
			switch {
			case r.Type == "exec" && f.prints != "":
				_, _ = io.WriteString(channel, f.prints)
			case r.Type == "exec":
				_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{}))
				channel.Close()
			}
		}
	}
}

func TestOnlyWantedSessionsForwardTheAgent(t *testing.T) {
	tests := map[string]struct {
		socket   bool   // SSH_AUTH_SOCK is set
		gone     bool   // … and its socket is not there
		settings string // of the machine
		noAgent  bool
		forwards bool
	}{
		"by default":                         {socket: true, settings: `{}`, forwards: true},
		"not without an agent":               {settings: `{}`},
		"not if the agent is gone":           {gone: true, settings: `{}`},
		"not with --no-agent":                {socket: true, settings: `{}`, noAgent: true},
		"not if the machine refuses":         {socket: true, settings: `{"sshAgent":false}`},
		"if the machine agrees":              {socket: true, settings: `{"sshAgent":true}`, forwards: true},
		"not if the settings are unreadable": {socket: true, settings: `{`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			bundle := filepath.Join(home, "machines", "box")
			socket := ""
			if tt.socket {
				socket = listenUnix(t)
			}
			if tt.gone {
				socket = filepath.Join(home, "gone")
			}
			t.Setenv("SSH_AUTH_SOCK", socket)
			if err := os.MkdirAll(bundle, 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(bundle, "boot-config.json"), tt.settings)
			p, err := local.New(local.Options{Home: home, Exe: "/nonexistent"})
			if err != nil {
				t.Fatal(err)
			}
			null, err := os.Open(os.DevNull)
			if err != nil {
				t.Fatal(err)
			}
			defer null.Close()
			a := &app{in: null, out: &printer{io.Discard}, err: &printer{io.Discard}, provider: p}
			f := &fakeSSH{}
			o := runOptions{noAgent: tt.noAgent}
			if err := a.attach(f.connect(t), session{machine: "box", command: "true", agent: !o.noAgent && a.allowsAgent("box")}); err != nil {
				t.Fatal(err)
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			if forwards := slices.Contains(f.asks, "auth-agent-req@openssh.com"); forwards != tt.forwards {
				t.Errorf("requests %q, want an agent: %v", f.asks, tt.forwards)
			}
		})
	}
}

// listenUnix returns the path of a socket. Paths in t.TempDir are too long on macOS.
func listenUnix(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "agent")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return path
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// stuckWriter is a standard output that is not read.
type stuckWriter struct {
	full  chan struct{} // closed by the first write
	ended <-chan struct{}
}

func (w stuckWriter) Write([]byte) (int, error) {
	close(w.full)
	<-w.ended
	return 0, io.ErrClosedPipe
}

func TestSecondInterruptEndsASessionWhoseOutputIsStuck(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	out := stuckWriter{make(chan struct{}), t.Context().Done()}
	a := &app{in: null, out: &printer{out}, err: &printer{io.Discard}}
	client := (&fakeSSH{prints: "y\n"}).connect(t)
	ended := make(chan error, 1)
	go func() { ended <- a.attach(client, session{machine: "box", command: "yes"}) }()
	<-out.full
	raise(t, syscall.SIGINT)
	raise(t, syscall.SIGTERM)
	select {
	case err := <-ended:
		var exit exitError
		if !errors.As(err, &exit) || exit != 128+exitError(syscall.SIGINT) && exit != 128+exitError(syscall.SIGTERM) {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the session still waits for the reader of its output")
	}
}
