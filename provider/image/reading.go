package image

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
)

const (
	chunkSize = 256 << 10 // small enough to stay in a processor's cache on its way
	chunks    = 8         // in memory, of each layer that is being unpacked
)

// chunk is a piece of an unpacked layer, or the reason why there are no more.
type chunk struct {
	buf *[chunkSize]byte // nil when the piece was put aside
	off int64            // where it is then
	n   int              // bytes
	err error            // io.EOF at the end
}

// reading is one reading of a layer: Read and Close belong to the writer's goroutine,
// and unpack and prove have one each.
type reading struct {
	*unpacker
	check  *check
	hash   hash.Hash     // belongs to prove until the last chunk is ready
	wanted chan struct{} // closed when the layer's turn has come

	// Sending to these never blocks: they hold more than there can be.
	room     chan struct{} // for chunks in memory
	unpacked chan chunk
	ready    chan chunk

	current chunk // of which done bytes have been read
	done    int
}

// unpack makes chunks of what f holds.
func (r *reading) unpack(f *os.File) {
	defer r.ended()
	defer f.Close() // only read from
	defer close(r.unpacked)
	zr, _, begin := decompressWith(r.check.metered(f), r.zstds.open)
	for {
		select {
		case <-r.room:
		case <-r.ctx.Done():
			return
		}
		c := chunk{buf: r.buffers.Get().(*[chunkSize]byte), err: begin}
		for c.n < chunkSize && c.err == nil {
			var n int
			n, c.err = zr.Read(c.buf[c.n:])
			c.n += n
		}
		if c.err != nil && begin == nil {
			_ = zr.Close() // only memory, which the next layer can have
		}
		r.unpacked <- c
		if c.err != nil {
			return
		}
	}
}

// prove hashes chunks and makes them ready. Before the layer's turn it puts aside what
// would stop unpacking for lack of memory.
func (r *reading) prove() {
	defer close(r.ready)
	for c := range r.unpacked {
		r.hash.Write(c.buf[:c.n])
		if len(r.room) == 0 && c.err == nil && r.isEarly() {
			if off, ok := r.aside.put(c.buf[:]); ok {
				r.release(c.buf)
				c.buf, c.off = nil, off
			}
		}
		r.ready <- c
	}
}

func (r *reading) isEarly() bool {
	select {
	case <-r.wanted:
		return false
	default:
		return true
	}
}

// release gives back the memory of a chunk.
func (r *reading) release(buf *[chunkSize]byte) {
	r.buffers.Put(buf)
	r.room <- struct{}{}
}

// Read waits for the next chunk when the last one is used up.
func (r *reading) Read(p []byte) (n int, err error) {
	for r.done == r.current.n {
		if r.current.err != nil {
			return 0, r.current.err
		}
		if err := r.advance(); err != nil {
			return 0, err
		}
	}
	if c := r.current; c.buf != nil {
		n = copy(p, c.buf[r.done:c.n])
	} else {
		n, err = r.aside.get(p[:min(len(p), c.n-r.done)], c.off+int64(r.done))
	}
	r.done += n
	return n, err
}

// advance makes the next chunk the current one.
func (r *reading) advance() error {
	r.drop()
	select {
	case c, ok := <-r.ready:
		if !ok { // stopped
			return context.Cause(r.ctx)
		}
		if c.err != nil && !errors.Is(c.err, io.EOF) {
			c.err = r.check.fail(r.check.damaged(c.err))
		}
		r.current, r.done = c, 0
		return nil
	case <-r.ctx.Done():
		return context.Cause(r.ctx)
	}
}

// drop gives back what the current chunk takes.
func (r *reading) drop() {
	if r.current.buf != nil {
		r.release(r.current.buf)
	} else if r.current.n > 0 {
		r.aside.free(r.current.off)
	}
	r.current, r.done = chunk{err: r.current.err}, 0
}

// Close reads what a tar reader leaves behind the last entry, and compares.
func (r *reading) Close() error {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	r.drop()
	k := r.check
	if got := fmt.Sprintf("%x", r.hash.Sum(nil)); got != k.want.Hex {
		return k.fail(k.damaged(fmt.Errorf("uncompressed it has the digest %s:%s, its config says %s",
			k.want.Algorithm, got, k.want)))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.verified = true
	return nil
}
