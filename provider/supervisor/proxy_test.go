package supervisor

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// guestSSH is an SSH server that behaves like the agent's towards the proxy: it runs
// commands with the host's shell. For the command "agent-keys" it asks the client's SSH
// agent.
type guestSSH struct {
	t      *testing.T
	config *ssh.ServerConfig
	dials  int
	conns  []net.Conn
	deaf   bool
	served []*ssh.ServerConn
	tokens []string // of requests for an agent
	mu     sync.Mutex
}

func newGuestSSH(t *testing.T) *guestSSH {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	g := &guestSSH{t: t, config: &ssh.ServerConfig{NoClientAuth: true}}
	g.config.AddHostKey(signer)
	return g
}

func (g *guestSSH) dial(context.Context) (ssh.Conn, <-chan ssh.NewChannel, <-chan *ssh.Request, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // a net.Pipe has no buffer: two hellos at once would hang
	if err != nil {
		return nil, nil, nil, err
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return nil, nil, nil, err
	}
	far, err := l.Accept()
	if err != nil {
		return nil, nil, nil, err
	}
	g.mu.Lock()
	g.dials++
	g.conns = append(g.conns, far)
	g.mu.Unlock()
	go func() {
		conn, channels, requests, err := ssh.NewServerConn(far, g.config)
		if err != nil {
			return
		}
		g.mu.Lock()
		g.served = append(g.served, conn)
		g.mu.Unlock()
		go g.answer(requests)
		for ch := range channels {
			go g.session(conn, ch)
		}
	}()
	return ssh.NewClientConn(near, "guest", &ssh.ClientConfig{HostKeyCallback: ssh.InsecureIgnoreHostKey()})
}

// answer refuses requests, or ignores them if g is deaf.
func (g *guestSSH) answer(requests <-chan *ssh.Request) {
	for r := range requests {
		g.mu.Lock()
		if r.WantReply && !g.deaf {
			_ = r.Reply(false, nil)
		}
		g.mu.Unlock()
	}
}

func (g *guestSSH) session(conn ssh.Conn, asked ssh.NewChannel) {
	if asked.ChannelType() != "session" {
		_ = asked.Reject(ssh.UnknownChannelType, "no "+asked.ChannelType()+" here")
		return
	}
	ch, requests, err := asked.Accept()
	if err != nil {
		return
	}
	var agentToken []byte
	for r := range requests {
		switch r.Type {
		case agentRequest:
			agentToken = r.Payload
			g.mu.Lock()
			g.tokens = append(g.tokens, string(r.Payload))
			g.mu.Unlock()
		case "exec":
			var body struct{ Command string }
			_ = ssh.Unmarshal(r.Payload, &body)
			_ = r.Reply(true, nil)
			go g.exec(conn, ch, body.Command, agentToken)
			continue
		}
		_ = r.Reply(true, nil)
	}
}

func (g *guestSSH) exec(conn ssh.Conn, ch ssh.Channel, command string, agentToken []byte) {
	code := 0
	if command == "agent-keys" {
		code = g.agentKeys(conn, ch, agentToken)
	} else {
		cmd := exec.Command("/bin/sh", "-c", command)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = ch, ch, ch.Stderr()
		var exit *exec.ExitError
		if err := cmd.Run(); errors.As(err, &exit) {
			code = exit.ExitCode()
		}
	}
	_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{uint32(code)}))
	_ = ch.Close()
}

func (g *guestSSH) agentKeys(conn ssh.Conn, w io.Writer, token []byte) int {
	ch, requests, err := conn.OpenChannel(agentChannel, token)
	if err != nil {
		fmt.Fprint(w, err)
		return 1
	}
	defer ch.Close()
	go ssh.DiscardRequests(requests)
	keys, err := agent.NewClient(ch).List()
	if err != nil {
		fmt.Fprint(w, err)
		return 1
	}
	for _, k := range keys {
		fmt.Fprint(w, k.Comment)
	}
	return 0
}

// startProxy starts a proxy to g and returns a function that connects a client to it.
func startProxy(t *testing.T, g *guestSSH) *Client {
	t.Helper()
	dir := socketDir(t)
	l, err := net.Listen("unix", filepath.Join(dir, sshSocket))
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{dial: g.dial}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = ignoreClosed(p.serve(l))
	}()
	t.Cleanup(func() {
		l.Close()
		_ = p.close()
		<-done
	})
	return NewClient(at(dir))
}

func connect(t *testing.T, c *Client) *ssh.Client {
	t.Helper()
	client, err := c.SSH(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func session(t *testing.T, client *ssh.Client) *ssh.Session {
	t.Helper()
	s, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestProxyPassesStreamsAndExitCode(t *testing.T) {
	s := session(t, connect(t, startProxy(t, newGuestSSH(t))))
	input := make([]byte, 5<<20)
	_, _ = rand.Read(input)
	var out, errs bytes.Buffer
	s.Stdin, s.Stdout, s.Stderr = bytes.NewReader(input), &out, &errs
	err := s.Run("cat; echo problem >&2; exit 7")
	var exit *ssh.ExitError
	if !errors.As(err, &exit) || exit.ExitStatus() != 7 {
		t.Errorf("got %v, want exit status 7", err)
	}
	if !bytes.Equal(out.Bytes(), input) {
		t.Errorf("%d bytes came back of %d, or others", out.Len(), len(input))
	}
	if errs.String() != "problem\n" {
		t.Errorf("standard error is %q", &errs)
	}
}

func TestProxyDialsTheGuestOnceForManySessions(t *testing.T) {
	g := newGuestSSH(t)
	c := startProxy(t, g)
	var all sync.WaitGroup
	for i := range 20 {
		client := connect(t, c)
		all.Go(func() {
			s, err := client.NewSession()
			if err != nil {
				t.Error(err)
				return
			}
			want := fmt.Sprintf("%d\n", i)
			if out, err := s.Output("echo " + want); err != nil || string(out) != want {
				t.Errorf("session %d said %q, %v", i, out, err)
			}
		})
	}
	all.Wait()
	if g.dials != 1 {
		t.Errorf("the guest was dialled %d times", g.dials)
	}
}

func TestProxyDialsAgainAfterTheGuestHasGone(t *testing.T) {
	g := newGuestSSH(t)
	client := connect(t, startProxy(t, g))
	if err := session(t, client).Run("true"); err != nil {
		t.Fatal(err)
	}
	g.mu.Lock()
	g.conns[0].Close()
	g.mu.Unlock()
	// A goroutine of the proxy notices the loss; until then sessions fail.
	for {
		s, err := client.NewSession()
		if err == nil && s.Run("true") == nil {
			break
		}
		if t.Context().Err() != nil {
			t.Fatal("no session after the guest came back")
		}
	}
	if g.dials != 2 {
		t.Errorf("the guest was dialled %d times", g.dials)
	}
}

func TestProxyReachesTheAgentOfTheSessionThatAsked(t *testing.T) {
	c := startProxy(t, newGuestSSH(t))
	for _, name := range []string{"ann's key", "bob's key"} {
		client := connect(t, c)
		keyring := agent.NewKeyring()
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if err := keyring.Add(agent.AddedKey{PrivateKey: key, Comment: name}); err != nil {
			t.Fatal(err)
		}
		if err := agent.ForwardToAgent(client, keyring); err != nil {
			t.Fatal(err)
		}
		s := session(t, client)
		if err := agent.RequestAgentForwarding(s); err != nil {
			t.Fatal(err)
		}
		if out, err := s.Output("agent-keys"); err != nil || string(out) != name {
			t.Errorf("the guest saw %q, %v; want %q", out, err, name)
		}
	}
	t.Run("no agent without a request", func(t *testing.T) {
		if out, err := session(t, connect(t, c)).Output("agent-keys"); err == nil {
			t.Errorf("the guest saw %q", out)
		}
	})
}

func TestProxyPassesTheGuestsRefusalOn(t *testing.T) {
	client := connect(t, startProxy(t, newGuestSSH(t)))
	_, _, err := client.OpenChannel("direct-tcpip", nil)
	var refused *ssh.OpenChannelError
	if !errors.As(err, &refused) || refused.Reason != ssh.UnknownChannelType || refused.Message != "no direct-tcpip here" {
		t.Errorf("got %v", err)
	}
}

func TestProxySaysWhenTheGuestCannotBeReached(t *testing.T) {
	dir := socketDir(t)
	l, err := net.Listen("unix", filepath.Join(dir, sshSocket))
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{dial: func(context.Context) (ssh.Conn, <-chan ssh.NewChannel, <-chan *ssh.Request, error) {
		return nil, nil, nil, os.ErrDeadlineExceeded
	}}
	go func() { _ = p.serve(l) }()
	defer l.Close()
	if s, err := connect(t, NewClient(at(dir))).NewSession(); err == nil {
		s.Close()
		t.Error("a session without a guest succeeded")
	}
}
