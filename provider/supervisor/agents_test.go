package supervisor

import (
	"errors"
	"io"
	"slices"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// heard returns the tokens that the guest got, and its end of the connection.
func (g *guestSSH) heard() ([]string, ssh.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.tokens), g.served[len(g.served)-1]
}

// forwarding starts a session that runs until its input ends, after it has asked for an agent.
func forwarding(t *testing.T, client *ssh.Client) (end func()) {
	t.Helper()
	s := session(t, client)
	if err := agent.RequestAgentForwarding(s); err != nil {
		t.Fatal(err)
	}
	stdin, err := s.StdinPipe()
	if err == nil {
		err = s.Start("cat")
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := errors.Join(stdin.Close(), s.Wait()); err != nil {
			t.Error(err)
		}
	}
}

// forwardingClient returns a client that has an SSH agent.
func forwardingClient(t *testing.T, c *Client) *ssh.Client {
	t.Helper()
	client := connect(t, c)
	if err := agent.ForwardToAgent(client, agent.NewKeyring()); err != nil {
		t.Fatal(err)
	}
	return client
}

// reaches reports whether the guest reaches an agent with the token.
func reaches(t *testing.T, guest ssh.Conn, token string) bool {
	t.Helper()
	ch, requests, err := guest.OpenChannel(agentChannel, []byte(token))
	if err != nil {
		return false
	}
	defer ch.Close()
	go ssh.DiscardRequests(requests)
	_, err = agent.NewClient(ch).List()
	return err == nil
}

func TestTokenOfAnAgentIsUnguessable(t *testing.T) {
	g := newGuestSSH(t)
	c := startProxy(t, g)
	for range 2 {
		client := forwardingClient(t, c)
		defer forwarding(t, client)()
		defer forwarding(t, client)()
	}
	tokens, guest := g.heard()
	distinct := slices.Compact(slices.Sorted(slices.Values(tokens)))
	if len(tokens) != 4 || len(distinct) != 4 {
		t.Fatalf("tokens of 4 sessions: %q", tokens)
	}
	for _, token := range tokens {
		if len(token) < 26 { // 128 bits in base32
			t.Errorf("token %q is short", token)
		}
		if !reaches(t, guest, token) {
			t.Errorf("token %q does not reach its agent", token)
		}
	}
	for _, guess := range []string{"", "0", "1", "2", "3", "4", tokens[0][:25], tokens[0] + "A", tokens[0] + tokens[1]} {
		if reaches(t, guest, guess) {
			t.Errorf("a guest that guesses %q reaches an agent", guess)
		}
	}
}

func TestSessionThatDoesNotAskHasNoToken(t *testing.T) {
	g := newGuestSSH(t)
	client := forwardingClient(t, startProxy(t, g))
	if err := session(t, client).Run("true"); err != nil {
		t.Fatal(err)
	}
	tokens, guest := g.heard()
	if len(tokens) > 0 {
		t.Errorf("the guest got tokens %q", tokens)
	}
	if reaches(t, guest, "") {
		t.Error("the guest reaches the agent of a session that has not asked")
	}
}

func TestTokenEndsWithItsSession(t *testing.T) {
	tests := map[string]func(t *testing.T, client *ssh.Client, end func()){
		"when its command ends":       func(_ *testing.T, _ *ssh.Client, end func()) { end() },
		"when the client disconnects": func(_ *testing.T, client *ssh.Client, _ func()) { client.Close() },
	}
	for name, finish := range tests {
		t.Run(name, func(t *testing.T) {
			g := newGuestSSH(t)
			c := startProxy(t, g)
			other := forwardingClient(t, c)
			defer forwarding(t, other)() // keeps the connection to the guest busy
			client := forwardingClient(t, c)
			end := forwarding(t, client)
			tokens, guest := g.heard()
			token := tokens[1]
			open, requests, err := guest.OpenChannel(agentChannel, []byte(token))
			if err != nil {
				t.Fatal(err)
			}
			go ssh.DiscardRequests(requests)
			finish(t, client, end)
			if _, err := io.Copy(io.Discard, open); err != nil {
				t.Errorf("the channel to the agent ended with %v", err)
			}
			eventually(t, "the token is refused", func() bool { return !reaches(t, guest, token) })
			if !reaches(t, guest, tokens[0]) {
				t.Error("the agent of another session ended too")
			}
		})
	}
}

func TestGrantThatHasEndedIssuesNoToken(t *testing.T) {
	a := &agents{}
	g := &grant{all: a, ended: make(chan struct{})}
	token := g.issue()
	if a.find(token) != g || g.issue() != token {
		t.Fatal("the token is not that of its session")
	}
	g.end()
	g.end()
	if a.find(token) != nil || a.find("") != nil {
		t.Error("the token outlives its session")
	}
	late := &grant{all: a, ended: make(chan struct{})}
	late.end()
	if token := late.issue(); token != "" || a.find(token) != nil {
		t.Errorf("a session that has ended got token %q", token)
	}
}

func TestConnectionsToAnAgentAreBounded(t *testing.T) {
	g := newGuestSSH(t)
	defer forwarding(t, forwardingClient(t, startProxy(t, g)))()
	tokens, guest := g.heard()
	var open []ssh.Channel
	for {
		ch, requests, err := guest.OpenChannel(agentChannel, []byte(tokens[0]))
		if err != nil {
			var refused *ssh.OpenChannelError
			if !errors.As(err, &refused) || refused.Reason != ssh.ResourceShortage {
				t.Errorf("the connection too many ended with %v", err)
			}
			break
		}
		go ssh.DiscardRequests(requests)
		if open = append(open, ch); len(open) > maxAgentChannels {
			t.Fatalf("%d connections are open", len(open))
		}
	}
	for _, ch := range open {
		ch.Close()
	}
	for !reaches(t, guest, tokens[0]) { // once the closed ones have been noticed
	}
}
