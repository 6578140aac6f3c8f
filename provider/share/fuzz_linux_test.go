package share_test

import (
	"encoding/binary"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/stead-vm/stead/provider/share"
	"github.com/stead-vm/stead/provider/share/vhostuser/vhosttest"
)

const (
	fuzzMem = pagesAt + 16<<20
	tableAt = 2 << 20 // indirect tables
	// fuzzMemory is what the server may take, in bytes, beside what a guest knows and has open:
	// 16 workers with the largest answers, and the front-end itself.
	fuzzMemory = 512 << 20
)

// driver is a hostile guest. Its moves come from the fuzzer.
type driver struct {
	*guest
	moves []byte
}

func (d *driver) next() byte {
	if len(d.moves) == 0 {
		return 0
	}
	b := d.moves[0]
	d.moves = d.moves[1:]
	return b
}

func (d *driver) next16() uint16 { return uint16(d.next()) | uint16(d.next())<<8 }

// desc returns a descriptor. Most point into the memory, at a request or at the room for an
// answer.
func (d *driver) desc() vhosttest.Desc {
	at := [...]uint64{slotsAt, slotsAt + answerAt, pagesAt, 0, fuzzMem - 1, 1 << 40, 1 << 63, ^uint64(0)}[d.next()%8]
	size := [...]uint32{40, 16, 4096, 1 << 20, 16 << 20, 0, 1 << 31, ^uint32(0)}[d.next()%8]
	flags := uint16(d.next() % 8)
	next := d.next16() % (queueSize + 1)
	return vhosttest.Desc{Addr: vhosttest.GuestBase + at + uint64(next)*8, Len: size, Flags: flags, Next: next}
}

// move makes one move on one of the rings.
func (d *driver) move() {
	q := d.queue
	if d.next()%8 == 0 {
		q = d.hiprio
	}
	switch d.next() % 9 {
	case 0, 1:
		q.Put(d.next16()%queueSize, d.desc())
	case 2:
		d.f.PutDesc(tableAt+16*int(d.next()), d.desc())
	case 3:
		q.Put(d.next16()%queueSize, vhosttest.Desc{
			Addr: vhosttest.GuestBase + tableAt, Len: uint32(d.next16()), Flags: vhosttest.Indirect,
		})
	case 4, 5:
		q.Offer(d.next16() % (queueSize + 1))
		q.Kick()
	case 6:
		q.OfferIndex(d.next16())
	case 7:
		d.request()
	case 8:
		d.scribble()
	}
}

// request writes the start of a request, where descriptors find it.
func (d *driver) request() {
	at := slotsAt + 8*(int(d.next16())%(queueSize+1))
	b := d.f.Mem[at : at+256]
	op := uint32(d.next()) % 56
	if op == 43 { // FALLOCATE would fill the disk of this host
		op = opSetlkw
	}
	binary.LittleEndian.PutUint32(b, uint32(d.next16()))
	binary.LittleEndian.PutUint32(b[4:], op)
	binary.LittleEndian.PutUint64(b[16:], uint64(d.next()%5))
	body := b[40:][:d.next()%200]
	for i := range body {
		body[i] = d.next()
	}
}

// scribble writes into the rings.
func (d *driver) scribble() {
	at := []int{hiprioAt, queueAt}[d.next()%2] + int(d.next16())%(16<<10)
	for range d.next() % 64 {
		d.f.Mem[at] = d.next()
		at++
	}
}

// Whatever a driver does to its rings, the server ends its requests and takes no more memory
// than it may.
func FuzzHostileDriver(f *testing.F) {
	put := func(slot, addr, size, flags, next byte) []byte {
		return []byte{1, 0, slot, 0, addr, size, flags, next, 0}
	}
	offer := []byte{1, 4, 0, 0}
	join := func(parts ...[]byte) (all []byte) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	readFile := join([]byte{1, 7, 0, 0, opRead, 80, 0, 2, 40, 1, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 8), []byte{0, 0, 0, 1})
	f.Add(join(readFile, put(0, 0, 0, 1, 1), put(1, 2, 4, 2, 0), offer))
	f.Add(join(readFile, put(0, 0, 2, 1, 1), put(1, 2, 3, 3, 2), put(2, 2, 3, 2, 0), offer, offer, offer))
	f.Add(join(put(0, 0, 4, 1, 0), offer))
	f.Add(join([]byte{1, 7, 0, 0, opForget, 48, 0, 2, 8, 255, 255, 0, 0, 0, 0, 0, 0}, put(0, 0, 2, 0, 0), offer, offer, offer))
	f.Add(join([]byte{1, 7, 0, 0, opSetlkw, 88, 0, 2, 40, 1}, put(0, 0, 2, 1, 1), put(1, 1, 2, 2, 0), offer, offer))
	f.Add(join([]byte{1, 2, 0, 0, 2, 1, 1, 0}, []byte{1, 3, 0, 0, 0, 16}, offer, []byte{1, 6, 255, 255}))
	before := debug.SetMemoryLimit(fuzzMemory / 2)
	f.Cleanup(func() { debug.SetMemoryLimit(before) })
	f.Fuzz(hostile)
}

func hostile(t *testing.T, moves []byte) {
	socket, result, _ := serve(t, share.Options{Dir: folder(t)})
	g := bootWith(t, socket, fuzzMem)
	g.open(g.lookup("file"), 2)
	d := driver{guest: g, moves: moves[:min(len(moves), 4096)]}
	for len(d.moves) > 0 {
		d.move()
	}
	// Requests in progress end. A new kernel finds a working server.
	g.queue.Stop()
	g.hiprio.Stop()
	g.start(g.f)
	var out fuse.EntryOut
	_ = ask(g, opLookup, fuse.FUSE_ROOT_ID, new(fuse.InHeader), []byte("file\x00"), &out)
	_ = g.f.Conn.Close()
	if err := <-result; err != nil {
		t.Errorf("Serve returned %v", err)
	}
	var m runtime.MemStats
	if runtime.ReadMemStats(&m); m.Sys > fuzzMemory {
		t.Errorf("the server took %d bytes", m.Sys)
	}
}
