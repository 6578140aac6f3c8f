package supervisor

import (
	"errors"
	"io"
	"sync"

	"golang.org/x/crypto/ssh"
)

// join opens the same channel on the other side and copies between the two until both are
// done. The grant is that of a session, which it ends; nil for other channels. A closed channel
// until ends the join; nil never does.
func join(asked ssh.NewChannel, to ssh.Conn, extra []byte, g *grant, until <-chan struct{}) {
	defer g.end()
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
	defer closeAfter(until, near, far)()
	// Close near only after all of far's data and its exit status have arrived. Close far
	// when near is closed.
	var toNear, data sync.WaitGroup
	toNear.Go(func() {
		for r := range farRequests {
			passRequest(near, r, nil)
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
			passRequest(far, r, g)
			answering.Unlock()
		}
		g.end() // a guest may keep its side open
		_ = far.Close()
	}()
	toNear.Wait()
	answering.Lock()
	defer answering.Unlock()
	_ = near.Close()
}

// closeAfter closes the channels when until is closed. Call the function that it returns when
// they are no longer needed.
func closeAfter(until <-chan struct{}, channels ...ssh.Channel) (stop func()) {
	stopped := make(chan struct{})
	if until != nil {
		go func() {
			select {
			case <-until:
				for _, c := range channels {
					_ = c.Close()
				}
			case <-stopped:
			}
		}()
	}
	return func() { close(stopped) }
}

func passRequest(to ssh.Channel, r *ssh.Request, g *grant) {
	if r.Type == agentRequest && g != nil {
		r.Payload = []byte(g.issue())
	}
	ok, err := to.SendRequest(r.Type, r.WantReply, r.Payload)
	if r.WantReply {
		_ = r.Reply(ok && err == nil, nil)
	}
}
