//go:build linux

package vhostuser

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Feature bits: see virtio 1.2 section 6 and, for bit 30 and protocol features, the vhost-user
// specification.
const (
	featIndirect uint64 = 1 << 28
	featEventIdx uint64 = 1 << 29
	featProtocol uint64 = 1 << 30
	featVersion1 uint64 = 1 << 32
	features            = featIndirect | featEventIdx | featProtocol | featVersion1

	protoMultiQueue uint64 = 1 << 0
	protoReplyAck   uint64 = 1 << 3
	protoConfig     uint64 = 1 << 9

	// maxRings is how many rings one device may have.
	maxRings = 17
	noFD     = 1 << 8 // in SET_VRING_{KICK,CALL,ERR}: no descriptor is attached

	// maxInFlight is how many buffers the requests in flight of all rings may have. Each costs
	// 24 bytes here, and up to twice that while a chain is read. The driver of a share with a
	// ring of 1,024 entries needs half of them, if every request is as large as possible.
	maxInFlight = 512 << 10

	interruptEvery = 5 * time.Millisecond
)

// session is the state of one front-end's connection.
type session struct {
	dev        Device
	rings      [maxRings]*ring
	mem        *memory
	protoAcked uint64
	buffers    atomic.Int64 // of all requests in flight
}

func newSession(d Device) *session {
	d.Patience = cmp.Or(d.Patience, 10*time.Second)
	d.MaxIn, d.MaxOut = cmp.Or(d.MaxIn, DefaultMax), cmp.Or(d.MaxOut, DefaultMax)
	s := &session{dev: d}
	for i := range s.rings {
		s.rings[i] = newRing(i, d, &s.buffers)
	}
	return s
}

// dispatch executes one message and returns the answer; nil: no answer.
func (s *session) dispatch(m *message) ([]byte, error) {
	switch m.request {
	case getFeatures:
		return word(features), nil
	case getProtocolFeatures:
		return word(s.protoFeatures()), nil
	case getQueueNum:
		return word(maxRings), nil
	case getVringBase:
		return s.stopRing(m)
	case getConfig:
		return s.readConfig(m)
	default:
		return s.acknowledge(m)
	}
}

// protoFeatures returns the protocol features that this device supports.
func (s *session) protoFeatures() uint64 {
	if len(s.dev.Config) == 0 {
		return protoMultiQueue | protoReplyAck
	}
	return protoMultiQueue | protoReplyAck | protoConfig
}

// readConfig answers with a part of the configuration space: offset, size and flags as in the
// request, then the bytes. If there is no such part, the answer has no payload, as the
// specification says.
func (s *session) readConfig(m *message) ([]byte, error) {
	const head = 12
	if len(m.payload) < head {
		return nil, m.sizeError(head)
	}
	offset := uint64(binary.LittleEndian.Uint32(m.payload))
	size := uint64(binary.LittleEndian.Uint32(m.payload[4:]))
	if offset+size > uint64(len(s.dev.Config)) {
		return []byte{}, nil
	}
	return append(m.payload[:head:head], s.dev.Config[offset:offset+size]...), nil
}

// acknowledge executes a message without an answer of its own, and answers with success or
// failure if the front-end asked for that.
func (s *session) acknowledge(m *message) ([]byte, error) {
	err := s.obey(m)
	if !m.needReply || s.protoAcked&protoReplyAck == 0 {
		return nil, err
	}
	if err != nil {
		s.dev.Log.Warn("cannot execute a message of the front-end", "message", m.request, "err", err)
		return word(1), nil
	}
	return word(0), nil
}

// obey executes such a message.
func (s *session) obey(m *message) error {
	switch m.request {
	case setFeatures:
		return s.setFeatures(m)
	case setProtocolFeatures:
		v, err := m.word()
		s.protoAcked = v & s.protoFeatures()
		return err
	case setOwner, resetOwner:
		return nil
	case setMemTable:
		return s.setMemTable(m)
	case setVringNum, setVringBase, setVringEnable, setVringAddr:
		return s.setRing(m)
	case setVringKick, setVringCall, setVringErr:
		return s.setEvent(m)
	default:
		return fmt.Errorf("message %d is not supported", m.request)
	}
}

func (s *session) setFeatures(m *message) error {
	v, err := m.word()
	if err != nil {
		return err
	}
	if v&^features != 0 {
		return fmt.Errorf("features %#x were not offered", v&^features)
	}
	for _, r := range s.rings {
		r.mu.Lock()
		r.eventIdx = v&featEventIdx != 0
		r.mu.Unlock()
		// Without protocol features there is no message to enable a ring.
		if v&featProtocol == 0 {
			r.enabled = true
		}
	}
	return nil
}

func (s *session) setMemTable(m *message) error {
	next, err := mapMemory(m.payload, m.fds)
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range s.rings {
		r.halt()
		r.setMemory(next)
		errs = append(errs, r.resume())
	}
	if s.mem != nil {
		s.mem.release()
	}
	s.mem = next
	return errors.Join(errs...)
}

func (s *session) ring(index uint32) (*ring, error) {
	if index >= maxRings {
		return nil, fmt.Errorf("ring %d does not exist", index)
	}
	return s.rings[index], nil
}

// setRing changes a ring with its loop halted.
func (s *session) setRing(m *message) error {
	if m.request == setVringAddr {
		return s.setRingAddr(m)
	}
	index, num, err := m.vring()
	if err != nil {
		return err
	}
	r, err := s.ring(index)
	if err != nil {
		return err
	}
	r.halt()
	switch m.request {
	case setVringNum:
		err = r.setSize(num)
	case setVringBase:
		r.setBase(num)
	default:
		r.enabled = num != 0
	}
	return errors.Join(err, r.resume())
}

func (s *session) setRingAddr(m *message) error {
	if len(m.payload) != 40 {
		return m.sizeError(40)
	}
	p := m.payload
	r, err := s.ring(binary.LittleEndian.Uint32(p))
	if err != nil {
		return err
	}
	r.halt()
	r.setAddr(ringAddr{
		desc:  binary.LittleEndian.Uint64(p[8:]),
		used:  binary.LittleEndian.Uint64(p[16:]),
		avail: binary.LittleEndian.Uint64(p[24:]),
	})
	return r.resume()
}

func (s *session) setEvent(m *message) error {
	v, err := m.word()
	if err != nil {
		return err
	}
	r, err := s.ring(uint32(v & 0xff))
	if err != nil {
		return err
	}
	fd := -1
	if v&noFD == 0 {
		if fd, err = m.takeFD(); err != nil {
			return err
		}
	}
	switch {
	case m.request == setVringCall:
		r.setCall(fd)
		return nil
	case m.request == setVringErr:
		return closeFD(fd)
	case fd < 0:
		return fmt.Errorf("ring %d has no kick event: polling is not supported", r.index)
	}
	r.halt()
	if err := r.setKick(fd); err != nil {
		return err
	}
	return r.resume()
}

// stopRing stops a ring and answers with its index. It waits for requests in flight: after the
// answer, nothing may write to the guest's memory, because QEMU is about to reset the guest.
func (s *session) stopRing(m *message) ([]byte, error) {
	index, _, err := m.vring()
	if err != nil {
		return nil, err
	}
	r, err := s.ring(index)
	if err != nil {
		return nil, err
	}
	if err := s.drain(r); err != nil {
		return nil, err
	}
	base := binary.LittleEndian.AppendUint32(nil, index)
	return binary.LittleEndian.AppendUint32(base, uint32(r.stop())), nil
}

func (s *session) drain(r *ring) error {
	r.halt()
	done := r.drained()
	deadline := time.After(s.dev.Patience)
	for {
		select {
		case <-done:
			return nil
		default:
		}
		// Interrupt repeatedly: a request may begin to wait only now.
		if s.dev.Interrupt != nil {
			s.dev.Interrupt()
		}
		select {
		case <-done:
			return nil
		case <-time.After(interruptEvery):
		case <-deadline:
			return fmt.Errorf("stop ring %d: timed out after %v: %w", r.index, s.dev.Patience, ErrStuck)
		}
	}
}

// close ends every ring.
func (s *session) close() error {
	var errs []error
	for _, r := range s.rings {
		err := s.drain(r)
		errs = append(errs, err)
		if err == nil {
			r.stop()
		}
	}
	if s.mem != nil {
		s.mem.release()
	}
	return errors.Join(errs...)
}
