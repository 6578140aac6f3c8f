package portmux

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"sync"
	"time"
)

// A serial port has no connections: if the program at the guest's end is killed and another one
// opens the port, the host's end sees only that the bytes make no sense any more, and old bytes
// may still arrive on both sides.
//
// So a session begins with greetings. The guest sends one with a new nonce, and discards
// everything until the host has returned it. A greeting in the middle of a session ends that
// session: from the guest it begins the next one, from the host it asks the guest to begin.

// magic begins a greeting. The first byte is not in the rest, which makes it easy to find, and is
// not 0, with which each header of yamux begins. Neither encrypted sessions nor JSON contain it.
var magic = []byte("\xff\xfe\x8b\xd1\x9c\xc6\xf0\x85stead\xfb\xe7\x00")

const nonceSize = 16

// nonce distinguishes sessions. That of a host that asks the guest to begin is zero.
type nonce [nonceSize]byte

// Conn is the byte stream below a multiplexer: a [net.Conn], or an [os.File] that Go can poll.
type Conn interface {
	io.ReadWriteCloser
	SetReadDeadline(t time.Time) error
}

// errGreeted ends a session: the other end has sent a greeting.
var errGreeted = errors.New("the other end has started again")

// wire is one end of a connection that carries one session after the other.
type wire struct {
	conn Conn

	reading sync.Mutex // held while reading; guards what follows
	ahead   []byte     // read but not returned
	matched int        // how many bytes of magic the last bytes were
	greeted bool       // the next bytes are the nonce of a greeting

	writing sync.Mutex
}

// read returns the next bytes of a session, or errGreeted if a greeting begins. Call it with
// reading held.
func (w *wire) read(p []byte) (int, error) {
	if w.greeted {
		return 0, errGreeted
	}
	n := copy(p, w.ahead)
	w.ahead = w.ahead[n:]
	if n == 0 {
		var err error
		if n, err = w.conn.Read(p); n == 0 {
			return 0, err
		}
	}
	if end := w.match(p[:n]); end >= 0 {
		w.ahead = append(bytes.Clone(p[end:n]), w.ahead...)
		w.greeted = true
		return 0, errGreeted
	}
	return n, nil
}

// match looks for magic, which may have begun in earlier bytes. It returns the position after
// magic, or -1. Bytes are never held back to see how they go on: the other end may wait for an
// answer to them.
func (w *wire) match(p []byte) (end int) {
	for i := 0; i < len(p); i++ {
		if w.matched == 0 {
			next := bytes.IndexByte(p[i:], magic[0])
			if next < 0 {
				return -1
			}
			i += next
		}
		switch p[i] {
		case magic[w.matched]:
			w.matched++
		case magic[0]:
			w.matched = 1
		default:
			w.matched = 0
		}
		if w.matched == len(magic) {
			w.matched = 0
			return i + 1
		}
	}
	return -1
}

// awaitGreeting discards everything before the next greeting and returns its nonce.
func (w *wire) awaitGreeting() (n nonce, err error) {
	w.reading.Lock()
	defer w.reading.Unlock()
	if err := w.conn.SetReadDeadline(time.Time{}); err != nil { // a closed leg has set it
		return n, err
	}
	buf := make([]byte, 4<<10)
	for !w.greeted {
		if _, err := w.read(buf); err != nil && !errors.Is(err, errGreeted) {
			return n, err
		}
	}
	w.greeted = false
	got := copy(n[:], w.ahead)
	w.ahead = w.ahead[got:]
	_, err = io.ReadFull(w.conn, n[got:])
	return n, err
}

// isGreeted reports whether a greeting waits for awaitGreeting. It waits for the end of a Read.
func (w *wire) isGreeted() bool {
	w.reading.Lock()
	defer w.reading.Unlock()
	return w.greeted
}

// greet sends a greeting.
func (w *wire) greet(n nonce) error {
	w.writing.Lock()
	defer w.writing.Unlock()
	_, err := w.conn.Write(append(bytes.Clone(magic), n[:]...))
	return err
}

// newNonce returns a nonce that no earlier greeting had.
func newNonce() (n nonce) {
	_, _ = rand.Read(n[:]) // never fails
	return n
}

// leg is the connection of one session. Closing it leaves the connection open.
type leg struct {
	wire *wire
	end  sync.Once
	done chan struct{}
}

func (w *wire) newLeg() *leg { return &leg{wire: w, done: make(chan struct{})} }

func (l *leg) Read(p []byte) (int, error) {
	l.wire.reading.Lock()
	defer l.wire.reading.Unlock()
	if l.closed() {
		return 0, io.ErrClosedPipe
	}
	return l.wire.read(p)
}

func (l *leg) Write(p []byte) (int, error) {
	l.wire.writing.Lock()
	defer l.wire.writing.Unlock()
	if l.closed() {
		return 0, io.ErrClosedPipe
	}
	return l.wire.conn.Write(p)
}

func (l *leg) closed() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// Close ends a Read that waits.
func (l *leg) Close() error {
	l.end.Do(func() {
		close(l.done)
		_ = l.wire.conn.SetReadDeadline(time.Unix(1, 0))
	})
	return nil
}
