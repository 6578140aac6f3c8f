package ext4

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
)

const (
	batchSize = 1 << 20 // bytes of one batch of writes
	batches   = 3       // one being filled, one being written, one in between
	// writeback is the number of bytes after which the kernel starts to store them: the
	// storage works while more data is produced, instead of only at the final fsync.
	writeback = 8 << 20
)

// errSink stops the producer when the sink has failed; close has the reason.
var errSink = errors.New("write failed")

// sink writes blocks in the background while the caller produces the next ones.
// It keeps their order and joins adjacent ones, so that a run of small files becomes
// one large write. Callers fill its buffer directly, which avoids a copy.
type sink struct {
	f       io.WriterAt
	limit   int64 // bytes of the file system; writes beyond it are dropped
	current *batch
	base    int // offset of the last room in the current batch
	full    chan *batch
	empty   chan *batch
	done    chan struct{}
	failed  atomic.Bool
	err     error // valid after done
	written int64 // valid after done
}

type batch struct {
	buf      []byte
	used     int
	segments []segment
}

// segment is a part of a batch's buffer and its place in the file.
type segment struct {
	off      int64
	from, to int
}

func newSink(f io.WriterAt, blocks uint64) *sink {
	s := &sink{
		f: f, limit: int64(blocks) * blockSize,
		full: make(chan *batch, batches), empty: make(chan *batch, batches), done: make(chan struct{}),
	}
	for range batches {
		s.empty <- &batch{buf: make([]byte, batchSize)}
	}
	s.current = <-s.empty
	go s.run()
	return s
}

func (s *sink) run() {
	defer close(s.done)
	var fresh span
	for b := range s.full {
		for _, seg := range b.segments {
			if s.err != nil {
				break
			}
			if _, err := s.f.WriteAt(b.buf[seg.from:seg.to], seg.off); err != nil {
				s.err = fmt.Errorf("write the disk: %w", err)
				s.failed.Store(true)
			}
			s.written += int64(seg.to - seg.from)
			fresh.add(seg.off, int64(seg.to-seg.from))
		}
		if fresh.bytes >= writeback {
			startWriteback(s.f, fresh.from, fresh.to-fresh.from)
			fresh = span{}
		}
		b.used, b.segments = 0, b.segments[:0]
		s.empty <- b
	}
}

// span is the smallest range of the file that contains all bytes added to it.
type span struct{ from, to, bytes int64 }

func (s *span) add(off, n int64) {
	if s.bytes == 0 {
		s.from = off
	}
	s.from, s.to = min(s.from, off), max(s.to, off+n)
	s.bytes += n
}

// room returns a buffer to fill: want bytes, or fewer but at least 64 KiB, in
// whole multiples of 64 KiB. Its bytes are undefined.
func (s *sink) room(want int) []byte {
	if left := batchSize - s.current.used; left < min(want, holeSize) {
		s.swap()
	}
	left := batchSize - s.current.used
	if want > left {
		want = left / holeSize * holeSize
	}
	s.base = s.current.used
	return s.current.buf[s.base : s.base+want]
}

// queue sends the bytes [from, to) of the last room to a block of the disk.
func (s *sink) queue(block uint64, from, to int) {
	off := int64(block) * blockSize
	if off >= s.limit {
		return
	}
	s.segment(off, s.base+from, s.base+to)
}

func (s *sink) segment(off int64, from, to int) {
	b := s.current
	b.used = to
	if n := len(b.segments); n > 0 {
		last := &b.segments[n-1]
		if last.to == from && last.off+int64(last.to-last.from) == off {
			last.to = to
			return
		}
	}
	b.segments = append(b.segments, segment{off, from, to})
}

// write copies p, of any length, to a byte offset of the disk.
func (s *sink) write(off int64, p []byte) {
	for len(p) > 0 && off < s.limit {
		n := copy(s.room(min(len(p), batchSize)), p)
		s.segment(off, s.base, s.base+n)
		p, off = p[n:], off+int64(n)
	}
}

func (s *sink) swap() {
	s.full <- s.current
	s.current = <-s.empty
}

// close waits until everything is written and returns the first error.
func (s *sink) close() error {
	s.swap()
	close(s.full)
	<-s.done
	return s.err
}
