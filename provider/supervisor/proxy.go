package supervisor

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// agentChannel and agentRequest are OpenSSH's names (PROTOCOL.agent, section 3 of
// draft-miller-ssh-agent).
const (
	agentChannel = "auth-agent@openssh.com"
	agentRequest = "auth-agent-req@openssh.com"
)

// keepAlive is OpenSSH's request to check a connection.
const keepAlive = "keepalive@openssh.com"

// dialTimeout bounds the handshake with the guest.
const dialTimeout = 30 * time.Second

// proxy lets many SSH clients on the host share one SSH connection to the guest, so that
// the key exchange, slow in an emulated guest, happens once. It passes channels and their
// requests through unread, except for agent forwarding: there it adds a token to the
// otherwise empty request, by which it later finds the client whose agent the guest asks
// for.
type proxy struct {
	dial func(context.Context) (ssh.Conn, <-chan ssh.NewChannel, <-chan *ssh.Request, error)
	lost chan struct{} // buffered, one element; filled when the connection to the guest ends

	patience time.Duration // timeout of check

	dialing sync.Mutex // held while dialling the guest, which may take long
	mu      sync.Mutex
	guest   ssh.Conn // nil: not connected
	clients map[string]ssh.Conn
	next    int
}

func (p *proxy) serve(l net.Listener) error {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return err
	}
	// No authentication: only the owner of the socket's directory can enter it.
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(signer)
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go p.handle(conn, config)
	}
}

func (p *proxy) handle(conn net.Conn, config *ssh.ServerConfig) {
	defer conn.Close()
	client, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	defer client.Close()
	token := p.enter(client)
	defer p.leave(token)
	go ssh.DiscardRequests(requests)
	var open sync.WaitGroup
	for ch := range channels {
		open.Go(func() {
			guest, err := p.connection()
			if err != nil {
				_ = ch.Reject(ssh.ConnectionFailed, err.Error())
				return
			}
			join(ch, guest, ch.ExtraData(), token)
		})
	}
	open.Wait()
}

func (p *proxy) enter(client ssh.Conn) (token string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.clients == nil {
		p.clients = map[string]ssh.Conn{}
	}
	p.next++
	token = strconv.Itoa(p.next)
	p.clients[token] = client
	return token
}

func (p *proxy) leave(token string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.clients, token)
}

// connection returns the shared connection to the guest. It dials if there is none.
func (p *proxy) connection() (ssh.Conn, error) {
	p.dialing.Lock()
	defer p.dialing.Unlock()
	if guest := p.current(); guest != nil {
		return guest, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	conn, channels, requests, err := p.dial(ctx)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.guest = conn
	p.mu.Unlock()
	go ssh.DiscardRequests(requests)
	go p.agents(channels)
	go func() {
		_ = conn.Wait()
		p.drop(conn)
	}()
	return conn, nil
}

// current returns the connection to the guest, or nil.
func (p *proxy) current() ssh.Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.guest
}

// agents joins the channels that the guest opens with the SSH agents of the clients.
func (p *proxy) agents(channels <-chan ssh.NewChannel) {
	for ch := range channels {
		p.mu.Lock()
		client := p.clients[string(ch.ExtraData())]
		p.mu.Unlock()
		if ch.ChannelType() != agentChannel || client == nil {
			_ = ch.Reject(ssh.Prohibited, "the guest may only open channels to a session's SSH agent")
			continue
		}
		go join(ch, client, nil, "")
	}
}

func (p *proxy) drop(conn ssh.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.guest == conn {
		p.guest = nil
	}
	select {
	case p.lost <- struct{}{}:
	default:
	}
}

// check closes the connection to the guest if the guest does not answer, so that the next
// session dials instead of hanging.
func (p *proxy) check(ctx context.Context) {
	guest := p.current()
	if guest == nil {
		return
	}
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		_, _, _ = guest.SendRequest(keepAlive, true, nil) // a refusal is an answer too; an error ends Wait
	}()
	select {
	case <-answered:
	case <-ctx.Done():
	case <-time.After(p.patience):
		_ = guest.Close()
	}
}

// reset closes the connection to a guest that has ended.
func (p *proxy) reset() {
	p.mu.Lock()
	guest := p.guest
	p.guest = nil
	p.mu.Unlock()
	if guest != nil {
		_ = guest.Close()
	}
}

// close ends every connection.
func (p *proxy) close() error {
	p.reset()
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, c := range p.clients {
		errs = append(errs, ignoreClosed(c.Close()))
	}
	return errors.Join(errs...)
}

// join opens the same channel on the other side and copies between the two until both are
// done. If token is not empty, it is added to requests for agent forwarding.
func join(asked ssh.NewChannel, to ssh.Conn, extra []byte, token string) {
	far, farRequests, err := to.OpenChannel(asked.ChannelType(), extra)
	if err != nil {
		reason, message := ssh.ConnectionFailed, err.Error()
		var refused *ssh.OpenChannelError
		if errors.As(err, &refused) {
			reason, message = refused.Reason, refused.Message
		}
		_ = asked.Reject(reason, message)
		return
	}
	defer far.Close()
	near, nearRequests, err := asked.Accept()
	if err != nil {
		return
	}
	// Close near only after all of far's data and its exit status have arrived. Close far
	// when near is closed.
	var toNear, data sync.WaitGroup
	toNear.Go(func() {
		for r := range farRequests {
			passRequest(near, r, "")
		}
	})
	data.Go(func() { _, _ = io.Copy(near.Stderr(), far.Stderr()) })
	data.Go(func() { _, _ = io.Copy(near, far) })
	toNear.Go(func() {
		data.Wait() // CloseWrite ends both streams
		_ = near.CloseWrite()
	})
	go func() {
		_, _ = io.Copy(far, near)
		_ = far.CloseWrite()
	}()
	// A command may end before the answer to its start has been passed on: keep near open
	// for that.
	var answering sync.Mutex
	go func() {
		for r := range nearRequests {
			answering.Lock()
			passRequest(far, r, token)
			answering.Unlock()
		}
		_ = far.Close()
	}()
	toNear.Wait()
	answering.Lock()
	defer answering.Unlock()
	_ = near.Close()
}

func passRequest(to ssh.Channel, r *ssh.Request, token string) {
	if r.Type == agentRequest && token != "" {
		r.Payload = []byte(token)
	}
	ok, err := to.SendRequest(r.Type, r.WantReply, r.Payload)
	if r.WantReply {
		_ = r.Reply(ok && err == nil, nil)
	}
}
