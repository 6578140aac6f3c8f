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
	// shutdownBoth ends both directions.
	shutdownBoth = 3
	// window is how many unread bytes the guest may send.
	window = 256 << 10
	// maxData is the maximum size of a packet's data. Drivers may have less room.
	maxData = 16 << 10
)

// header is struct virtio_vsock_hdr.
type header struct {
	SrcCID, DstCID   uint64
	SrcPort, DstPort uint32
	Len              uint32
	Type, Op         uint16
	Flags            uint32
	BufAlloc, FwdCnt uint32 // the sender's window, and how many received bytes it has read
}

// parse splits a packet. It returns false if b is not a packet.
func parse(b []byte) (h header, data []byte, ok bool) {
	n, err := binary.Decode(b, binary.LittleEndian, &h)
	if err != nil || uint64(h.Len) > uint64(len(b)-n) {
		return h, nil, false
	}
	return h, b[n : n+int(h.Len)], true
}

// packet is a packet for the guest.
type packet struct {
	header
	data []byte
}

// pieces splits a packet for a buffer of size bytes. rest is empty if everything fits.
func (p packet) pieces(size int) (first, rest []byte) {
	n := min(len(p.data), size-headerSize)
	return p.header.bytes(p.data[:n]), p.data[n:]
}

func (h header) bytes(data []byte) []byte {
	h.Len = uint32(len(data))
	b, err := binary.Append(make([]byte, 0, headerSize+len(data)), binary.LittleEndian, h)
	if err != nil {
		panic(err) // cannot fail: the fields are numbers
	}
	return append(b, data...)
}
