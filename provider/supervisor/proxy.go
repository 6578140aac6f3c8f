package supervisor

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// keepAlive is OpenSSH's request to check a connection.
const keepAlive = "keepalive@openssh.com"

// dialTimeout bounds the handshake with the guest.
const dialTimeout = 30 * time.Second

// proxy lets many SSH clients on the host share one SSH connection to the guest, so that
// the key exchange, slow in an emulated guest, happens once. It passes channels and their
// requests through unread, except for agent forwarding; see [agents].
type proxy struct {
	dial func(context.Context) (ssh.Conn, <-chan ssh.NewChannel, <-chan *ssh.Request, error)
	lost chan struct{} // buffered, one element; filled when the connection to the guest ends

	patience time.Duration // timeout of check

	dialing sync.Mutex // held while dialling the guest, which may take long
	mu      sync.Mutex
	guest   ssh.Conn // nil: not connected
	clients map[ssh.Conn]struct{}
	agents  agents
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

// handshakeTimeout limits the handshake of a client, which is a process of this host.
const handshakeTimeout = 30 * time.Second

func (p *proxy) handle(conn net.Conn, config *ssh.ServerConfig) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(handshakeTimeout))
	client, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	_ = conn.SetDeadline(time.Time{})
	defer client.Close()
	p.enter(client)
	defer p.leave(client)
	go ssh.DiscardRequests(requests)
	var open sync.WaitGroup
	for ch := range channels {
		open.Go(func() {
			guest, err := p.connection()
			if err != nil {
				_ = ch.Reject(ssh.ConnectionFailed, err.Error())
				return
			}
			join(ch, guest, ch.ExtraData(), p.agents.session(ch, client), nil)
		})
	}
	open.Wait()
}

func (p *proxy) enter(client ssh.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.clients == nil {
		p.clients = map[ssh.Conn]struct{}{}
	}
	p.clients[client] = struct{}{}
}

func (p *proxy) leave(client ssh.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.clients, client)
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
	go p.agents.serve(channels)
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
	if guest := p.release(); guest != nil {
		_ = guest.Close()
	}
}

// release returns the connection to the guest, or nil, and forgets it.
func (p *proxy) release() ssh.Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	guest := p.guest
	p.guest = nil
	return guest
}

// close ends every connection.
func (p *proxy) close() error {
	p.reset()
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for c := range p.clients {
		errs = append(errs, ignoreClosed(c.Close()))
	}
	return errors.Join(errs...)
}
