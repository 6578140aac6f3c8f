//go:build linux

package vhostuser

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// request is the type of a message, from the specification's section "Front-end message
// types".
type request uint32

const (
	getFeatures         request = 1
	setFeatures         request = 2
	setOwner            request = 3
	resetOwner          request = 4
	setMemTable         request = 5
	setVringNum         request = 8
	setVringAddr        request = 9
	setVringBase        request = 10
	getVringBase        request = 11
	setVringKick        request = 12
	setVringCall        request = 13
	setVringErr         request = 14
	getProtocolFeatures request = 15
	setProtocolFeatures request = 16
	getQueueNum         request = 17
	setVringEnable      request = 18
	getConfig           request = 24
)

const (
	headerSize = 12
	// maxPayload is larger than the largest supported message (a memory table of maxRegions
	// entries, 264 bytes).
	maxPayload = 1024
	// maxFDs is the number of descriptors of a memory table with maxRegions entries.
	maxFDs = maxRegions

	flagVersion   = 0x1
	flagReply     = 0x4
	flagNeedReply = 0x8
	versionMask   = 0x3
)

// message is one message of the front-end. It owns its descriptors: takeFD transfers the
// ownership, close closes the rest.
type message struct {
	request   request
	needReply bool
	payload   []byte
	fds       []int
}

func (m *message) close() {
	for _, fd := range m.fds {
		_ = unix.Close(fd)
	}
	m.fds = nil
}

// takeFD transfers the ownership of the message's only descriptor.
func (m *message) takeFD() (int, error) {
	if len(m.fds) != 1 {
		return -1, fmt.Errorf("message %d has %d descriptors, want 1", m.request, len(m.fds))
	}
	fd := m.fds[0]
	m.fds = nil
	return fd, nil
}

// word returns the payload as one 64-bit number.
func (m *message) word() (uint64, error) {
	if len(m.payload) != 8 {
		return 0, m.sizeError(8)
	}
	return binary.LittleEndian.Uint64(m.payload), nil
}

// vring returns the payload as a ring's index and a number.
func (m *message) vring() (index, num uint32, err error) {
	if len(m.payload) != 8 {
		return 0, 0, m.sizeError(8)
	}
	return binary.LittleEndian.Uint32(m.payload), binary.LittleEndian.Uint32(m.payload[4:]), nil
}

func (m *message) sizeError(want int) error {
	return fmt.Errorf("message %d has a payload of %d bytes, want %d", m.request, len(m.payload), want)
}

// source is a stream of bytes and descriptors.
type source interface {
	// read reads at most len(p) bytes, and appends descriptors that came with them to fds.
	read(p []byte, fds []int) (int, []int, error)
}

// readMessage reads one message. It returns io.EOF if the stream ends between two messages.
func readMessage(src source) (message, error) {
	var m message
	var head [headerSize]byte
	if err := m.fill(src, head[:]); err != nil {
		m.close()
		return message{}, err
	}
	flags := binary.LittleEndian.Uint32(head[4:])
	size := binary.LittleEndian.Uint32(head[8:])
	m.request = request(binary.LittleEndian.Uint32(head[:]))
	m.needReply = flags&flagNeedReply != 0
	if flags&versionMask != flagVersion || size > maxPayload {
		m.close()
		return message{}, fmt.Errorf("malformed message header: request %d, flags %#x, size %d", m.request, flags, size)
	}
	m.payload = make([]byte, size)
	if err := m.fill(src, m.payload); err != nil {
		m.close()
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return message{}, fmt.Errorf("read the payload of message %d: %w", m.request, err)
	}
	return m, nil
}

func (m *message) fill(src source, p []byte) error {
	for done := 0; done < len(p); {
		n, fds, err := src.read(p[done:], m.fds)
		m.fds = fds
		done += n
		switch {
		case len(m.fds) > maxFDs:
			return fmt.Errorf("a message has more than %d descriptors", maxFDs)
		case done == len(p):
			return nil
		case errors.Is(err, io.EOF) && done > 0:
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		case n == 0:
			return io.ErrUnexpectedEOF
		}
	}
	return nil
}

// reply encodes an answer to a message of type r.
func reply(r request, payload []byte) []byte {
	b := make([]byte, 0, headerSize+len(payload))
	b = binary.LittleEndian.AppendUint32(b, uint32(r))
	b = binary.LittleEndian.AppendUint32(b, flagVersion|flagReply)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	return append(b, payload...)
}

func word(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }

// socket implements source with a Unix connection.
type socket struct{ conn *net.UnixConn }

func (s socket) read(p []byte, fds []int) (int, []int, error) {
	oob := make([]byte, unix.CmsgSpace(4*maxFDs))
	n, oobn, flags, _, err := s.conn.ReadMsgUnix(p, oob)
	if oobn > 0 {
		got, perr := rights(oob[:oobn])
		fds = append(fds, got...)
		err = errors.Join(err, perr)
	}
	if flags&unix.MSG_CTRUNC != 0 {
		err = errors.Join(err, fmt.Errorf("a message has more than %d descriptors", maxFDs))
	}
	if n == 0 && err == nil && len(p) > 0 {
		err = io.EOF
	}
	return n, fds, err
}

func rights(oob []byte) ([]int, error) {
	controls, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("read descriptors: %w", err)
	}
	var fds []int
	for i := range controls {
		got, err := unix.ParseUnixRights(&controls[i])
		if err != nil {
			return fds, fmt.Errorf("read descriptors: %w", err)
		}
		fds = append(fds, got...)
	}
	return fds, nil
}
