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
	chunkSize = 256 << 10 // small enough to stay in a processor's cache
	chunks    = 8         // in memory for each layer that is being unpacked
)

// chunk is a piece of an unpacked layer, or the reason why there are no more.
type chunk struct {
	buf *[chunkSize]byte // nil if the piece is in the spill file
	off int64            // its offset in the spill file
	n   int              // bytes
	err error            // io.EOF at the end
}

// layerReader reads a layer once. Read and Close run in the writer's goroutine; unpack and
// hashChunks run in one goroutine each.
type layerReader struct {
	*unpacker
	check  *check
	hash   hash.Hash     // belongs to hashChunks until the last chunk is ready
	wanted chan struct{} // closed when the writer opens the layer

	// Sending to these never blocks: they have room for all chunks that can exist.
	room     chan struct{} // for chunks in memory
	unpacked chan chunk
	ready    chan chunk

	current chunk
	done    int // bytes of current that have been read
}

// unpack splits the uncompressed content of f into chunks.
func (r *layerReader) unpack(f *os.File) {
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
			_ = zr.Close() // only returns memory, which the next layer can use
		}
		r.unpacked <- c
		if c.err != nil {
			return
		}
	}
}

// hashChunks hashes chunks and passes them on. Before the writer opens the layer, it moves
// chunks to the spill file when memory runs out, so that unpacking can go on.
func (r *layerReader) hashChunks() {
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

func (r *layerReader) isEarly() bool {
	select {
	case <-r.wanted:
		return false
	default:
		return true
	}
}

// release returns the memory of a chunk.
func (r *layerReader) release(buf *[chunkSize]byte) {
	r.buffers.Put(buf)
	r.room <- struct{}{}
}

// Read reads the current chunk, or waits for the next one.
func (r *layerReader) Read(p []byte) (n int, err error) {
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
func (r *layerReader) advance() error {
	r.drop()
	select {
	case c, ok := <-r.ready:
		if !ok { // stopped
			return context.Cause(r.ctx)
		}
		if c.err != nil && !errors.Is(c.err, io.EOF) {
			c.err = r.check.fail(r.check.damageError(c.err))
		}
		r.current, r.done = c, 0
		return nil
	case <-r.ctx.Done():
		return context.Cause(r.ctx)
	}
}

// drop frees the current chunk.
func (r *layerReader) drop() {
	if r.current.buf != nil {
		r.release(r.current.buf)
	} else if r.current.n > 0 {
		r.aside.free(r.current.off)
	}
	r.current, r.done = chunk{err: r.current.err}, 0
}

// Close reads what a tar reader leaves after the last entry and compares the digest.
func (r *layerReader) Close() error {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	r.drop()
	k := r.check
	if got := fmt.Sprintf("%x", r.hash.Sum(nil)); got != k.want.Hex {
		return k.fail(k.damageError(fmt.Errorf("the uncompressed layer has the digest %s:%s, but the config says %s",
			k.want.Algorithm, got, k.want)))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.verified = true
	return nil
}
