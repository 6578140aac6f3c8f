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
// Unpacking takes longer than all other steps, and one stream cannot be unpacked by several
// processors. So unpacking, hashing and writing run in separate goroutines, and idle
// processors unpack the next layers ahead of time. The writer gets the same data in the
// same order in any case.
type unpacker struct {
	ctx     context.Context
	stop    context.CancelFunc
	layers  []*check
	limit   int       // layers that are unpacked at once
	buffers sync.Pool // of *[chunkSize]byte
	zstds   zstdPool
	aside   *spill
	group   sync.WaitGroup

	mu      sync.Mutex
	running int                  // layers that are being unpacked
	next    int                  // the first layer that was neither opened nor considered
	early   map[int]*layerReader // started, but not opened yet
}

func newUnpacker(ctx context.Context, layers []*check, tmp string) *unpacker {
	u := &unpacker{
		layers: layers, limit: min(runtime.GOMAXPROCS(0), maxUnpackers),
		aside: &spill{dir: tmp}, early: map[int]*layerReader{},
	}
	u.buffers.New = func() any { return new([chunkSize]byte) }
	u.ctx, u.stop = context.WithCancel(ctx)
	return u
}

// close stops all readings and waits for them.
func (u *unpacker) close() {
	u.stop()
	u.group.Wait()
	u.aside.close()
}

// open implements [Layer.Open] for a layer.
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

// lookAhead starts to unpack the next layers while there are idle processors. With a single
// processor it does nothing, as the detour would only cost time. It ignores errors: they
// occur again when the layer is opened. u.mu is held.
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

// begin starts a reading of f, which closes f at the end. u.mu is held.
func (u *unpacker) begin(k *check, f *os.File) (*layerReader, error) {
	h, err := v1.Hasher(k.want.Algorithm)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	r := &layerReader{
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
	u.group.Go(r.hashChunks)
	return r, nil
}

// ended is called when a layer has been unpacked.
func (u *unpacker) ended() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.running--
	u.lookAhead()
}
