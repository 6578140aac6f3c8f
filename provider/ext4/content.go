package ext4

import (
	"bytes"
	"context"
	"fmt"
	"io"
)

const (
	// holeSize is the length and alignment of a run of zeros that becomes a hole
	// instead of blocks. It is long enough that small gaps do not fragment files.
	holeSize = 64 << 10
	// maxFileBlocks is limited by an extent's 32-bit logical block number.
	maxFileBlocks = 1<<32 - 1
)

var zeros [holeSize]byte

// contentWriter stores the contents of files as they are read.
type contentWriter struct {
	space *allocator
	out   *sink

	reserved run // taken but not used yet
	left     uint64
	extents  []extent
}

// store copies size bytes of r to the disk and returns their extents. The result is
// valid until the next call.
func (c *contentWriter) store(ctx context.Context, r io.Reader, size int64) ([]extent, error) {
	c.left = blocksOf(size)
	if c.left > maxFileBlocks {
		return nil, fmt.Errorf("a file of %d bytes is too large: ext4 allows at most %d", size, int64(maxFileBlocks)*blockSize)
	}
	c.extents = c.extents[:0]
	defer func() {
		c.space.release(c.reserved)
		c.reserved = run{}
	}()
	for logical := uint32(0); size > 0; {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		if c.out.failed.Load() {
			return nil, errSink
		}
		if c.space.hopeless() {
			return nil, errFull
		}
		buf := c.out.room(int(min(c.left*blockSize, batchSize)))
		n := int(min(int64(len(buf)), size))
		if _, err := io.ReadFull(r, buf[:n]); err != nil {
			return nil, truncated(err)
		}
		clear(buf[n:])
		c.place(logical, buf)
		logical += uint32(len(buf) / blockSize)
		c.left -= uint64(len(buf) / blockSize)
		size -= int64(n)
	}
	return c.extents, nil
}

// truncated turns io.EOF into [io.ErrUnexpectedEOF]: the layer ended inside a file.
func truncated(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// place allocates blocks for the parts of buf that are not holes.
func (c *contentWriter) place(logical uint32, buf []byte) {
	left := c.left
	for at := 0; at < len(buf); {
		if isHole(buf[at:]) {
			at += holeSize
			continue
		}
		from := at
		for at < len(buf) && !isHole(buf[at:]) {
			at = min(at+holeSize, len(buf))
		}
		for from < at {
			if c.reserved.count == 0 {
				c.reserved = c.space.take(left - uint64(from/blockSize))
			}
			blocks := min(uint32((at-from)/blockSize), c.reserved.count)
			c.out.queue(c.reserved.start, from, from+int(blocks)*blockSize)
			c.extents = appendExtent(c.extents, extent{logical + uint32(from/blockSize), blocks, c.reserved.start})
			c.reserved.start += uint64(blocks)
			c.reserved.count -= blocks
			from += int(blocks) * blockSize
		}
	}
}

func isHole(p []byte) bool {
	return len(p) >= holeSize && p[0] == 0 && bytes.Equal(p[:holeSize], zeros[:])
}

func blocksOf(size int64) uint64 { return (uint64(size) + blockSize - 1) / blockSize }
