//go:build linux

package vhostuser_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/stead-vm/stead/provider/share/vhostuser"
	"github.com/stead-vm/stead/provider/share/vhostuser/vhosttest"
)

const (
	allFeatures = vhosttest.FeatVersion1 | vhosttest.FeatProtocol | vhosttest.FeatEventIdx | vhosttest.FeatIndirect
	memSize     = 1 << 20
	ringAt      = 0
	otherRingAt = 64 << 10
	tableAt     = 128 << 10 // indirect tables
	inAt        = 256 << 10
	outAt       = 512 << 10
)

// start serves d. It returns the front-end and the channel of Serve's result.
func start(t *testing.T, d vhostuser.Device) (*vhosttest.Frontend, <-chan error) {
	t.Helper()
	ours, theirs := pair(t)
	d.Log = slog.New(slog.DiscardHandler)
	result := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		result <- vhostuser.Serve(ctx, theirs, d)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return vhosttest.New(t, ours, memSize), result
}

func pair(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	path := t.TempDir() + "/s"
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	a, err = net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	b, err = l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

// upper answers with the request in capitals, from another goroutine.
func upper(q *vhostuser.Request) {
	go func() {
		text := bytes.ToUpper(slices.Concat(q.In...))
		n := 0
		for _, out := range q.Out {
			n += copy(out, text[n:])
		}
		q.Done(n)
	}()
}

// text writes s into guest memory at off and returns its descriptor.
func text(f *vhosttest.Frontend, off int, s string) vhosttest.Desc {
	copy(f.Mem[off:], s)
	return vhosttest.Desc{Addr: uint64(vhosttest.GuestBase + off), Len: uint32(len(s))}
}

func room(off, n int) vhosttest.Desc {
	return vhosttest.Desc{Addr: uint64(vhosttest.GuestBase + off), Len: uint32(n), Flags: vhosttest.Write}
}

// ask sends one request in a direct chain of two descriptors.
func ask(t *testing.T, f *vhosttest.Frontend, q *vhosttest.Queue, s string) {
	t.Helper()
	in := text(f, inAt, s)
	in.Flags, in.Next = vhosttest.Next, 1
	q.Put(0, in)
	q.Put(1, room(outAt, 100))
	q.Offer(0)
	expect(t, f, q, s)
}

func expect(t *testing.T, f *vhosttest.Frontend, q *vhosttest.Queue, s string) {
	t.Helper()
	u := q.Wait()
	if u.Head != 0 || string(f.Mem[outAt:outAt+int(u.Len)]) != string(bytes.ToUpper([]byte(s))) {
		t.Fatalf("answer %+v %q to %q", u, f.Mem[outAt:outAt+int(u.Len)], s)
	}
}

func TestRequestsAreAnswered(t *testing.T) {
	tests := map[string]uint64{
		"with event index":    allFeatures,
		"without event index": allFeatures &^ vhosttest.FeatEventIdx,
	}
	for name, features := range tests {
		t.Run(name, func(t *testing.T) {
			f, _ := start(t, vhostuser.Device{Handle: upper})
			f.Start(features)
			q := f.Queue(1, 8, ringAt, features&vhosttest.FeatEventIdx != 0)
			q.Start(0)
			for range 30 { // the ring wraps around
				ask(t, f, q, "a plain request")
			}
		})
	}
}

func TestRequestInAnIndirectTable(t *testing.T) {
	f, _ := start(t, vhostuser.Device{Handle: upper})
	f.Start(allFeatures)
	q := f.Queue(0, 8, ringAt, true)
	q.Start(0)
	for i, d := range []vhosttest.Desc{text(f, inAt, "in "), text(f, inAt+5000, "pieces"), room(outAt, 4), room(outAt+4, 50)} {
		d.Flags |= vhosttest.Next
		d.Next = uint16(i + 1)
		if i == 3 {
			d.Flags = vhosttest.Write
		}
		f.PutDesc(tableAt+16*i, d)
	}
	q.Put(0, vhosttest.Desc{Addr: vhosttest.GuestBase + tableAt, Len: 64, Flags: vhosttest.Indirect})
	q.Offer(0)
	expect(t, f, q, "in pieces")
}

func TestManyRequestsInFlight(t *testing.T) {
	const n = 64
	var held []*vhostuser.Request
	all := make(chan []*vhostuser.Request, 1)
	f, _ := start(t, vhostuser.Device{Handle: func(q *vhostuser.Request) {
		if held = append(held, q); len(held) == n {
			all <- held
		}
	}})
	f.Start(allFeatures)
	q := f.Queue(1, n, ringAt, true)
	q.Start(0)
	for i := range uint16(n) {
		q.Put(i, room(outAt+int(i)*16, 16))
		q.Offer(i)
	}
	var wg sync.WaitGroup
	for i, r := range <-all {
		wg.Go(func() { r.Done(i) })
	}
	heads := map[uint32]bool{}
	for range n {
		u := q.Wait()
		if u.Len != u.Head || heads[u.Head] {
			t.Errorf("answer %+v; each head has its own length and comes once", u)
		}
		heads[u.Head] = true
	}
	wg.Wait()
}

// A malformed chain gets an empty answer, and the next request works.
func TestMalformedChainGetsAnEmptyAnswer(t *testing.T) {
	d := func(addr uint64, size uint32, flags, next uint16) vhosttest.Desc {
		return vhosttest.Desc{Addr: addr, Len: size, Flags: flags, Next: next}
	}
	const base, end = vhosttest.GuestBase, vhosttest.GuestBase + memSize
	tests := map[string][]vhosttest.Desc{
		"address below the memory":         {d(0, 16, 0, 0)},
		"address behind the memory":        {d(end, 1, 0, 0)},
		"buffer that leaves the memory":    {d(end-8, 9, vhosttest.Write, 0)},
		"address that wraps around":        {d(^uint64(0)-3, 16, 0, 0)},
		"front-end's address":              {d(vhosttest.UserBase, 16, 0, 0)},
		"endless chain":                    {d(base, 1, vhosttest.Next, 1), d(base, 1, vhosttest.Next, 0)},
		"descriptor outside the table":     {d(base, 1, vhosttest.Next, 8)},
		"readable after writable":          {d(base, 1, vhosttest.Next|vhosttest.Write, 1), d(base, 1, 0, 0)},
		"more readable than a request has": {d(base, memSize, vhosttest.Next, 1), d(base, vhostuser.DefaultMax-memSize+1, 0, 0)},
		"more room than an answer takes": {
			d(base, memSize, vhosttest.Write|vhosttest.Next, 1), d(base, vhostuser.DefaultMax-memSize+1, vhosttest.Write, 0),
		},
		"empty indirect table":              {d(base+tableAt, 0, vhosttest.Indirect, 0)},
		"indirect table with half an entry": {d(base+tableAt, 24, vhosttest.Indirect, 0)},
		"huge indirect table":               {d(base, memSize, vhosttest.Indirect, 0)},
		"indirect table with successor":     {d(base+tableAt, 16, vhosttest.Indirect|vhosttest.Next, 1), d(base, 1, 0, 0)},
		"indirect table outside":            {d(end, 16, vhosttest.Indirect, 0)},
		"nested indirect table":             {d(base+tableAt, 32, vhosttest.Indirect, 0)},
	}
	for name, chain := range tests {
		t.Run(name, func(t *testing.T) {
			f, _ := start(t, vhostuser.Device{Handle: upper})
			f.Start(allFeatures)
			q := f.Queue(1, 8, ringAt, true)
			q.Start(0)
			f.PutDesc(tableAt, d(base+tableAt, 16, vhosttest.Indirect, 0))
			for i, desc := range chain {
				q.Put(uint16(i), desc)
			}
			q.Offer(0)
			if u := q.Wait(); u != (vhosttest.Used{}) {
				t.Errorf("answer %+v, want head 0 and no bytes", u)
			}
			ask(t, f, q, "still there")
		})
	}
}

func TestLargestRequestIsAnswered(t *testing.T) {
	const in, out = 4096, memSize
	sizes := make(chan [2]int, 1)
	f, _ := start(t, vhostuser.Device{MaxIn: in, MaxOut: out, Handle: func(q *vhostuser.Request) {
		sizes <- [2]int{len(slices.Concat(q.In...)), len(slices.Concat(q.Out...))}
		q.Done(1)
	}})
	f.Start(allFeatures)
	q := f.Queue(1, 8, ringAt, true)
	q.Start(0)
	q.Put(0, vhosttest.Desc{Addr: vhosttest.GuestBase, Len: in, Flags: vhosttest.Next, Next: 1})
	q.Put(1, vhosttest.Desc{Addr: vhosttest.GuestBase, Len: out - 1, Flags: vhosttest.Write | vhosttest.Next, Next: 2})
	q.Put(2, room(0, 1))
	q.Offer(0)
	if u := q.Wait(); u.Len != 1 {
		t.Errorf("answer %+v, want one byte", u)
	}
	if got := <-sizes; got != [2]int{in, out} {
		t.Errorf("a request of %d bytes with room for %d, want %d and %d", got[0], got[1], in, out)
	}
}

// A driver that fills its rings with the longest chains takes a limited amount of memory.
func TestBuffersOfUnfinishedRequestsAreLimited(t *testing.T) {
	const chain, fit = 1023, 512 // the indirect descriptor counts, too
	held := make(chan *vhostuser.Request, 2*fit)
	f, _ := start(t, vhostuser.Device{Handle: func(q *vhostuser.Request) { held <- q }})
	f.Start(allFeatures)
	q := f.Queue(1, 1024, ringAt, false)
	q.Start(0)
	for i := range chain {
		d := room(outAt, 1)
		if i < chain-1 {
			d.Flags |= vhosttest.Next
			d.Next = uint16(i + 1)
		}
		f.PutDesc(tableAt+16*i, d)
	}
	offer := func(head uint16) {
		q.Put(head, vhosttest.Desc{Addr: vhosttest.GuestBase + tableAt, Len: 16 * chain, Flags: vhosttest.Indirect})
		q.Offer(head)
	}
	for i := range uint16(fit + 1) {
		offer(i)
	}
	if u := q.Wait(); u != (vhosttest.Used{Head: fit}) {
		t.Errorf("answer %+v, want an empty one for the last request", u)
	}
	for range fit {
		(<-held).Done(1)
		q.Wait()
	}
	offer(0)
	(<-held).Done(1)
	if u := q.Wait(); u.Len != 1 {
		t.Errorf("answer %+v after the others have ended, want one byte", u)
	}
}

func TestEmptyBufferIsSkipped(t *testing.T) {
	f, _ := start(t, vhostuser.Device{Handle: upper})
	f.Start(allFeatures)
	q := f.Queue(1, 8, ringAt, true)
	q.Start(0)
	in := text(f, inAt, "text")
	in.Flags, in.Next = vhosttest.Next, 2
	q.Put(0, vhosttest.Desc{Addr: 12345, Flags: vhosttest.Next, Next: 1})
	q.Put(1, in)
	q.Put(2, room(outAt, 100))
	q.Offer(0)
	expect(t, f, q, "text")
}

func TestBrokenDriverLosesItsRingUntilAReset(t *testing.T) {
	tests := map[string]func(*vhosttest.Queue){
		"a head outside the ring":  func(q *vhosttest.Queue) { q.Offer(8) },
		"more than the ring holds": func(q *vhosttest.Queue) { q.OfferIndex(9) },
		"an index that decreases":  func(q *vhosttest.Queue) { q.OfferIndex(0xffff) },
	}
	for name, sin := range tests {
		t.Run(name, func(t *testing.T) {
			f, _ := start(t, vhostuser.Device{Handle: upper})
			f.Start(allFeatures)
			bad, good := f.Queue(1, 8, ringAt, false), f.Queue(2, 8, otherRingAt, true)
			bad.Start(0)
			good.Start(0)
			sin(bad)
			ask(t, f, good, "unharmed")
			bad.Stop()
			fresh := f.Queue(1, 8, 32<<10, true)
			fresh.Start(0)
			ask(t, f, fresh, "after a reset")
		})
	}
}

func TestRepeatedHeadIsTakenAtMostRingSizeTimes(t *testing.T) {
	var mu sync.Mutex
	var taken []*vhostuser.Request
	f, _ := start(t, vhostuser.Device{
		Handle: func(q *vhostuser.Request) {
			mu.Lock()
			defer mu.Unlock()
			taken = append(taken, q)
		},
		Interrupt: func() {
			mu.Lock()
			defer mu.Unlock()
			for _, q := range taken {
				q.Done(0)
			}
			taken = nil
		},
	})
	f.Start(allFeatures)
	q := f.Queue(1, 8, ringAt, false)
	q.Start(0)
	q.Put(0, room(outAt, 16))
	for range 20 {
		q.Offer(0)
	}
	if base := q.Stop(); base > 8 {
		t.Errorf("%d requests were taken from a ring of 8", base)
	}
}
