package image

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// maxUnpackers bounds memory: few images have more than this many large layers.
const maxUnpackers = 4

// unpacker reads the layers of one image for one conversion.
//
// Unpacking takes longer than all the rest, and two processors cannot share in one
// stream. So unpacking, hashing and writing go on in goroutines of their own, and layers
// whose turn has not come are unpacked already where a processor would be idle. What
// the writer gets is the same in any case, in the same order.
type unpacker struct {
	ctx     context.Context
	stop    context.CancelFunc
	layers  []*check
	limit   int       // layers that are unpacked at a time
	buffers sync.Pool // of *[chunkSize]byte
	zstds   zstdPool
	aside   *spill
	group   sync.WaitGroup

	mu      sync.Mutex
	running int              // layers that are being unpacked
	next    int              // the first layer that was neither opened nor looked at
	early   map[int]*reading // begun, and not opened yet
}

func newUnpacker(ctx context.Context, layers []*check, tmp string) *unpacker {
	u := &unpacker{
		layers: layers, limit: min(runtime.GOMAXPROCS(0), maxUnpackers),
		aside: &spill{dir: tmp}, early: map[int]*reading{},
	}
	u.buffers.New = func() any { return new([chunkSize]byte) }
	u.ctx, u.stop = context.WithCancel(ctx)
	return u
}

// close ends whatever is still being read.
func (u *unpacker) close() {
	u.stop()
	u.group.Wait()
	u.aside.close()
}

// open is [Layer.Open] of a layer.
func (u *unpacker) open(layer int) (io.ReadCloser, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	r := u.early[layer]
	delete(u.early, layer)
	if r == nil {
		f, err := u.layers[layer].file()
		if err != nil {
			return nil, u.layers[layer].fail(err)
		}
		if r, err = u.begin(u.layers[layer], f); err != nil {
			return nil, err
		}
	}
	close(r.wanted)
	u.next = max(u.next, layer+1)
	u.lookAhead()
	return r, nil
}

// lookAhead begins with the next layers while there are processors for them; a single
// one would only make the detour. A layer that cannot be read will say so when it is
// opened. u.mu is held.
func (u *unpacker) lookAhead() {
	if u.limit == 1 {
		return
	}
	for ; u.running < u.limit && u.next < len(u.layers) && u.ctx.Err() == nil; u.next++ {
		k := u.layers[u.next]
		f, err := k.file()
		if err != nil {
			continue
		}
		if !detect(bufio.NewReader(io.NewSectionReader(f, 0, 16))).slow() {
			_ = f.Close() // only read from
			continue
		}
		if r, err := u.begin(k, f); err == nil {
			u.early[u.next] = r
		}
	}
}

// begin starts a reading of f, which it closes in the end. u.mu is held.
func (u *unpacker) begin(k *check, f *os.File) (*reading, error) {
	h, err := v1.Hasher(k.want.Algorithm)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	r := &reading{
		unpacker: u, check: k, hash: h, wanted: make(chan struct{}),
		room:     make(chan struct{}, chunks),
		unpacked: make(chan chunk, chunks),
		ready:    make(chan chunk, chunks+maxSpill/chunkSize),
	}
	for range chunks {
		r.room <- struct{}{}
	}
	u.running++
	u.group.Go(func() { r.unpack(f) })
	u.group.Go(r.prove)
	return r, nil
}

// ended is called when a layer has been unpacked.
func (u *unpacker) ended() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.running--
	u.lookAhead()
}
