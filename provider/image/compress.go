package image

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// compression is the compression format of a tarball.
type compression uint8

const (
	plain compression = iota
	gzipped
	zstandard
	xzipped
	bzipped
)

// magics are the first bytes of each format: RFC 1952 §2.3.1, RFC 8878 §3.1.1, the xz file
// format §2.1.1.1, and bzip2's "BZh". They take precedence over a media type, which some
// tools write incorrectly.
var magics = map[compression][]byte{
	gzipped:   {0x1f, 0x8b},
	zstandard: {0x28, 0xb5, 0x2f, 0xfd},
	xzipped:   {0xfd, '7', 'z', 'X', 'Z', 0x00},
	bzipped:   []byte("BZh"),
}

// maxWindow bounds zstd's memory, which the data determines. "zstd --ultra --long=31"
// needs 2 GiB, which is not useful for a layer.
const maxWindow = 512 << 20

// detect peeks at the first bytes of r.
func detect(r *bufio.Reader) compression {
	head, _ := r.Peek(8) // fewer bytes match nothing, and an error returns on reading
	for c, magic := range magics {
		if bytes.HasPrefix(head, magic) {
			return c
		}
	}
	return plain
}

// slow reports whether unpacking takes so much longer than writing the result that a
// detour through a file is worth it.
func (c compression) slow() bool { return c == gzipped || c == xzipped || c == bzipped }

// decompress detects the compression of r and undoes it. Closing the result leaves r open.
func decompress(r io.Reader) (io.ReadCloser, compression, error) {
	return decompressWith(r, func(r io.Reader) (io.ReadCloser, error) {
		zr, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return zr.IOReadCloser(), nil
	})
}

// decompressWith is decompress with the caller's zstd decoder.
func decompressWith(r io.Reader, unzstd func(io.Reader) (io.ReadCloser, error)) (io.ReadCloser, compression, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	c := detect(br)
	switch c {
	case gzipped:
		zr, err := gzip.NewReader(br)
		return zr, c, err
	case zstandard:
		zr, err := unzstd(br)
		return zr, c, err
	case xzipped:
		zr, err := xz.NewReader(br)
		return io.NopCloser(zr), c, err
	case bzipped:
		return io.NopCloser(bzip2.NewReader(br)), c, nil
	case plain:
		return io.NopCloser(br), c, nil
	}
	return nil, c, errors.New("unknown compression")
}

// zstdPool reuses decoders for streams whose content is verified by a digest, which is
// stronger than the stream's own checksum. A decoder allocates a whole window, so it
// serves one layer after the other.
type zstdPool struct {
	mu   sync.Mutex
	idle []*zstd.Decoder
}

func (p *zstdPool) open(r io.Reader) (io.ReadCloser, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last := len(p.idle) - 1; last >= 0 {
		zr := p.idle[last]
		p.idle = p.idle[:last]
		return &lentZstd{zr, p}, zr.Reset(r)
	}
	// Without goroutines of its own the decoder uses less processor time.
	zr, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(maxWindow),
		zstd.IgnoreChecksum(true), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	return &lentZstd{zr, p}, nil
}

type lentZstd struct {
	*zstd.Decoder
	pool *zstdPool
}

// Close returns the decoder to the pool.
func (l *lentZstd) Close() error {
	err := l.Reset(nil)
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	l.pool.idle = append(l.pool.idle, l.Decoder)
	return err
}
