//go:build linux

package vhostuser

import (
	"bytes"
	"io"
	"log/slog"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// stream is a source without descriptors that yields step bytes at a time.
type stream struct {
	r    io.Reader
	step int
}

func (s stream) read(p []byte, fds []int) (int, []int, error) {
	n, err := s.r.Read(p[:min(len(p), s.step)])
	return n, fds, err
}

func FuzzMessages(f *testing.F) {
	f.Add(reply(setFeatures, word(features)), 3)
	f.Add(append(reply(getVringBase, word(1)), reply(setVringAddr, make([]byte, 40))...), 100)
	f.Add(reply(setMemTable, make([]byte, 8)), 1)
	f.Fuzz(func(t *testing.T, data []byte, step int) {
		s := newSession(Device{Handle: func(*Request) {}, Patience: 1, Log: slog.New(slog.DiscardHandler)})
		src := stream{bytes.NewReader(data), max(step, 1)}
		for {
			m, err := readMessage(src)
			if err != nil {
				break
			}
			if len(m.payload) > maxPayload {
				t.Fatalf("a payload of %d bytes", len(m.payload))
			}
			_, _ = s.dispatch(&m)
			m.close()
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
	})
}

// Any chain ends and stays within the memory.
func FuzzChain(f *testing.F) {
	const base = 0x1000
	desc := func(addr byte, size, flags, next byte) []byte {
		return []byte{addr, 0x10, 0, 0, 0, 0, 0, 0, size, 0, 0, 0, flags, 0, next, 0}
	}
	f.Add(append(desc(0, 16, descNext, 1), desc(32, 16, descWrite, 0)...), uint16(0))
	f.Add(append(desc(16, 16, descIndirect, 0), desc(0, 16, descWrite, 0)...), uint16(0))
	f.Add(append(desc(0, 16, descNext, 1), desc(0, 16, descNext, 0)...), uint16(1))
	f.Fuzz(func(t *testing.T, data []byte, head uint16) {
		low, high := bytes.Clone(data), make([]byte, 64)
		// Two adjacent regions, so that buffers can cross from one to the other.
		m := &memory{regions: []region{
			{guest: base, data: low},
			{guest: base + uint64(len(low)), data: high},
		}}
		const maxIn, maxOut = 100, 200
		c := chain{mem: m, left: maxChain, leftIn: maxIn, leftOut: maxOut}
		err := c.walk(low, head, false)
		if c.left < 0 || c.buffers() > maxChain+len(m.regions) {
			t.Fatalf("%d and %d buffers, %d descriptors left, err %v", len(c.in), len(c.out), c.left, err)
		}
		if in, out := len(bytes.Join(c.in, nil)), len(bytes.Join(c.out, nil)); in > maxIn || out > maxOut {
			t.Fatalf("%d and %d bytes, err %v", in, out, err)
		}
		for _, b := range append(c.in, c.out...) {
			if !inside(b, low) && !inside(b, high) {
				t.Fatal("a buffer is outside of the memory")
			}
		}
	})
}

func inside(b, mem []byte) bool {
	start, at := uintptr(unsafe.Pointer(unsafe.SliceData(mem))), uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	return len(b) > 0 && at >= start && at+uintptr(len(b)) <= start+uintptr(len(mem))
}

func TestBufferMayCrossRegions(t *testing.T) {
	a, b := []byte("one"), []byte("two")
	m := &memory{regions: []region{{guest: 100, data: a}, {guest: 103, data: b}}}
	iov, err := m.appendGuest(nil, 101, 4)
	if err != nil || string(bytes.Join(iov, []byte("|"))) != "ne|tw" {
		t.Errorf("got %q, %v", iov, err)
	}
	if iov, err := m.appendGuest(nil, 104, 3); err == nil {
		t.Errorf("got %q beyond the end", iov)
	}
}

func TestStore16DoesNotChangeNeighbours(t *testing.T) {
	b := unsafe.Slice((*byte)(unsafe.Pointer(&make([]uint64, 2)[0])), 16)
	for i := range b {
		b[i] = byte(i)
	}
	store16(b, 2, 0xa3a2)
	store16(b, 4, 0xa5a4)
	want := []byte{0, 1, 0xa2, 0xa3, 0xa4, 0xa5, 6, 7}
	if !bytes.Equal(b[:8], want) || load16(b, 2) != 0xa3a2 || load16(b, 6) != 0x0706 {
		t.Errorf("got % x, want % x", b[:8], want)
	}
}

func TestDescriptorsOfARefusedMessageAreClosed(t *testing.T) {
	p := make([]int, 2)
	if err := unix.Pipe2(p, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(p[1]) }()
	m := message{request: setMemTable, payload: []byte{1}, fds: []int{p[0]}}
	if _, err := mapMemory(m.payload, m.fds); err == nil {
		t.Fatal("a memory table of one byte was accepted")
	}
	m.close()
	if _, err := unix.FcntlInt(uintptr(p[0]), unix.F_GETFD, 0); err != unix.EBADF {
		t.Errorf("the descriptor is still open: %v", err)
	}
}
