package supervisor

import (
	"crypto/rand"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/ssh"
)

// agentChannel and agentRequest are OpenSSH's names (PROTOCOL.agent, section 3 of
// draft-miller-ssh-agent).
const (
	agentChannel = "auth-agent@openssh.com"
	agentRequest = "auth-agent-req@openssh.com"
)

// agents knows which sessions the guest may ask for an SSH agent. Such a session has a token,
// which is added to its otherwise empty request, and which the guest repeats when it opens a
// channel to the agent. It is safe for concurrent use.
type agents struct {
	mu      sync.Mutex
	byToken map[string]*grant
}

// grant is the right of one session to its client's SSH agent. A nil grant is that of a channel
// that is no session.
type grant struct {
	all    *agents
	client ssh.Conn

	// Guarded by all.mu.
	token string // empty: the session has not asked
	over  bool

	ended chan struct{} // closed when the session has ended
	open  atomic.Int32  // channels to the agent
}

// maxAgentChannels is how many channels to its client's SSH agent a session may have at once. Each
// costs the supervisor and the client a few goroutines and a connection.
const maxAgentChannels = 32

// session returns the grant of a channel of the client, which has no token yet.
func (a *agents) session(asked ssh.NewChannel, client ssh.Conn) *grant {
	if asked.ChannelType() != "session" {
		return nil
	}
	return &grant{all: a, client: client, ended: make(chan struct{})}
}

// issue returns the session's token. Only the agent in the guest learns it, and nobody can
// guess it.
func (g *grant) issue() string {
	g.all.mu.Lock()
	defer g.all.mu.Unlock()
	if g.token == "" && !g.over {
		g.token = rand.Text()
		if g.all.byToken == nil {
			g.all.byToken = map[string]*grant{}
		}
		g.all.byToken[g.token] = g
	}
	return g.token
}

// end makes the token invalid and closes the channels that were opened with it.
func (g *grant) end() {
	if g == nil {
		return
	}
	g.all.mu.Lock()
	defer g.all.mu.Unlock()
	if !g.over {
		g.over = true
		delete(g.all.byToken, g.token)
		close(g.ended)
	}
}

// find returns the grant with this token, or nil.
func (a *agents) find(token string) *grant {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.byToken[token]
}

// serve joins the channels that the guest opens with the SSH agents of the clients.
func (a *agents) serve(channels <-chan ssh.NewChannel) {
	for ch := range channels {
		g := a.find(string(ch.ExtraData()))
		if ch.ChannelType() != agentChannel || g == nil {
			_ = ch.Reject(ssh.Prohibited, "the guest may only open channels to the SSH agent of a session that forwards it")
			continue
		}
		if g.open.Add(1) > maxAgentChannels {
			g.open.Add(-1)
			_ = ch.Reject(ssh.ResourceShortage, "too many connections to the SSH agent of this session")
			continue
		}
		go func() {
			defer g.open.Add(-1)
			join(ch, g.client, nil, nil, g.ended)
		}()
	}
}
