//go:build linux

package vsocktest

import "encoding/binary"

// Operations, virtio 1.2 section 5.10.6.
const (
	opRequest       = 1
	opResponse      = 2
	opRST           = 3
	opShutdown      = 4
	opRW            = 5
	opCreditUpdate  = 6
	opCreditRequest = 7
)

const (
	headerSize = 44
	typeStream = 1
	hostCID    = 2
	// shutdownBoth says that nothing is sent or received any more.
	shutdownBoth = 3
	// window is how many bytes the guest may send that nobody has read.
	window = 256 << 10
	// maxData is the most that is sent at once; drivers may have less room than that.
	maxData = 16 << 10
)

// header is struct virtio_vsock_hdr.
type header struct {
	SrcCID, DstCID   uint64
	SrcPort, DstPort uint32
	Len              uint32
	Type, Op         uint16
	Flags            uint32
	BufAlloc, FwdCnt uint32 // the sender's window, and how much of what it got was read
}

// parse takes a packet apart; false: it is none.
func parse(b []byte) (h header, data []byte, ok bool) {
	n, err := binary.Decode(b, binary.LittleEndian, &h)
	if err != nil || uint64(h.Len) > uint64(len(b)-n) {
		return h, nil, false
	}
	return h, b[n : n+int(h.Len)], true
}

// packet is one that waits to be handed to the guest.
type packet struct {
	header
	data []byte
}

// pieces splits a packet for a buffer of size bytes; rest is empty when all fits.
func (p packet) pieces(size int) (first, rest []byte) {
	n := min(len(p.data), size-headerSize)
	return p.header.bytes(p.data[:n]), p.data[n:]
}

func (h header) bytes(data []byte) []byte {
	h.Len = uint32(len(data))
	b, err := binary.Append(make([]byte, 0, headerSize+len(data)), binary.LittleEndian, h)
	if err != nil {
		panic(err) // its fields are numbers
	}
	return append(b, data...)
}
