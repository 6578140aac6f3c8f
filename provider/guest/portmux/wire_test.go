package portmux

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// scripted is a connection whose reads return these parts, one each.
type scripted struct {
	parts [][]byte
	wrote bytes.Buffer
}

func (s *scripted) Read(p []byte) (int, error) {
	if len(s.parts) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.parts[0])
	if s.parts[0] = s.parts[0][n:]; len(s.parts[0]) == 0 {
		s.parts = s.parts[1:]
	}
	return n, nil
}

func (s *scripted) Write(p []byte) (int, error)     { return s.wrote.Write(p) }
func (s *scripted) Close() error                    { return nil }
func (s *scripted) SetReadDeadline(time.Time) error { return nil }

// inParts cuts text into parts of this size.
func inParts(text []byte, size int) (parts [][]byte) {
	for len(text) > size {
		parts = append(parts, bytes.Clone(text[:size]))
		text = text[size:]
	}
	return append(parts, bytes.Clone(text))
}

func TestGreetingIsFoundInAnyBytes(t *testing.T) {
	want := newNonce()
	greeting := append(bytes.Clone(magic), want[:]...)
	tests := map[string][]byte{
		"at the beginning":         nil,
		"after text":               []byte("HTTP/1.1 200 OK"),
		"after its own beginning":  magic[:5],
		"after almost all of it":   magic[:len(magic)-1],
		"after its first byte":     {magic[0], magic[0]},
		"after many of its firsts": bytes.Repeat(magic[:1], 9000),
	}
	for name, before := range tests {
		for _, size := range []int{1, 3, len(magic), 1 << 20} {
			t.Run(name, func(t *testing.T) {
				stream := append(append(bytes.Clone(before), greeting...), "then yamux"...)
				w := &wire{conn: &scripted{parts: inParts(stream, size)}}
				got, err := w.awaitGreeting()
				if err != nil || got != want {
					t.Fatalf("in parts of %d bytes: nonce %x, %v; want %x", size, got, err, want)
				}
				if rest, err := io.ReadAll(w.newLeg()); err != nil || string(rest) != "then yamux" {
					t.Errorf("in parts of %d bytes: the session begins with %q, %v", size, rest, err)
				}
			})
		}
	}
}

func TestGreetingEndsTheSession(t *testing.T) {
	want := newNonce()
	w := &wire{conn: &scripted{parts: [][]byte{[]byte("frames"), magic, want[:]}}}
	l := w.newLeg()
	got, err := io.ReadAll(l)
	if string(got) != "frames" || !errors.Is(err, errGreeted) {
		t.Errorf("the session read %q, %v", got, err)
	}
	if _, err := l.Read(make([]byte, 9)); !errors.Is(err, errGreeted) {
		t.Errorf("then it read the next one: %v", err)
	}
	if got, err := w.awaitGreeting(); err != nil || got != want {
		t.Errorf("nonce %x, %v; want %x", got, err, want)
	}
}

// The other end may wait for an answer to bytes that look like the beginning of a greeting.
func TestNoByteIsHeldBack(t *testing.T) {
	for n := 1; n < len(magic); n++ {
		near, far := net.Pipe()
		w := &wire{conn: near}
		go func() { _, _ = far.Write(magic[:n]) }()
		got := make([]byte, n)
		if _, err := io.ReadFull(w.newLeg(), got); err != nil || !bytes.Equal(got, magic[:n]) {
			t.Errorf("of %x came %x, %v", magic[:n], got, err)
		}
		near.Close()
		far.Close()
	}
}

func FuzzWire(f *testing.F) {
	f.Add([]byte("abc"), 2)
	f.Add(append(bytes.Clone(magic), "0123456789abcdefrest"...), 5)
	f.Add(append(bytes.Clone(magic[:7]), magic...), 3)
	f.Fuzz(func(t *testing.T, stream []byte, size int) {
		w := &wire{conn: &scripted{parts: inParts(stream, max(1, size%64))}}
		end := bytes.Index(stream, magic)
		got, err := io.ReadAll(w.newLeg())
		if end < 0 {
			if err != nil || !bytes.Equal(got, stream) {
				t.Errorf("read %x, %v; want %x", got, err, stream)
			}
			return
		}
		// The read that completes the greeting returns nothing.
		if !errors.Is(err, errGreeted) || !bytes.HasPrefix(stream, got) || len(got) >= end+len(magic) {
			t.Errorf("read %x, %v before the greeting at %d of %x", got, err, end, stream)
		}
		_, _ = w.awaitGreeting()
	})
}
