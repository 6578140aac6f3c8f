//go:build linux

package qemu

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// monitor is a client of QMP, QEMU's JSON protocol (docs/interop/qmp-spec.txt in QEMU's
// source). It implements the needed part: commands with small answers, and events.
type monitor struct {
	conn    qmpConn
	onEvent func(qmpEvent)
	ready   chan struct{} // closed by QEMU's greeting
	done    chan struct{} // closed when the connection has ended
	err     error         // why; read it after done is closed

	mu      sync.Mutex // guards what follows, and writing
	lastID  int
	pending map[int]chan<- qmpMessage
}

// qmpConn is a connection to QEMU.
type qmpConn interface {
	io.ReadWriteCloser
	SetWriteDeadline(t time.Time) error
}

// qmpEvent is a message that QEMU sends on its own.
type qmpEvent struct {
	Name string
	Data json.RawMessage
}

// qmpMessage is a line from QEMU: greeting, answer or event.
type qmpMessage struct {
	Greeting json.RawMessage `json:"QMP"`
	ID       int             `json:"id"`
	Return   json.RawMessage `json:"return"`
	Error    *qmpError       `json:"error"`
	Event    string          `json:"event"`
	Data     json.RawMessage `json:"data"`
}

// qmpError is QEMU's error answer to a command.
type qmpError struct {
	Class string `json:"class"`
	Desc  string `json:"desc"`
}

func (e *qmpError) Error() string { return e.Desc }

// qmpLineLimit bounds a line, in bytes. The longest expected one has a few hundred.
const qmpLineLimit = 1 << 20

// qmpWriteTimeout bounds the sending of a command, of which the socket holds thousands.
const qmpWriteTimeout = time.Second

// newMonitor starts a client on conn and takes ownership of it. It calls onEvent for each
// event, in order; onEvent must not wait for the monitor.
func newMonitor(conn qmpConn, onEvent func(qmpEvent)) *monitor {
	m := &monitor{
		conn: conn, onEvent: onEvent, ready: make(chan struct{}), done: make(chan struct{}),
		pending: map[int]chan<- qmpMessage{},
	}
	go m.read()
	return m
}

func (m *monitor) read() {
	lines := bufio.NewScanner(m.conn)
	lines.Buffer(nil, qmpLineLimit)
	greeted := false
	for lines.Scan() {
		var msg qmpMessage
		if err := json.Unmarshal(lines.Bytes(), &msg); err != nil {
			m.err = fmt.Errorf("QMP: %w", err)
			break
		}
		switch {
		case msg.Greeting != nil && !greeted:
			greeted = true
			close(m.ready)
		case msg.Event != "":
			m.onEvent(qmpEvent{msg.Event, msg.Data})
		case msg.Return != nil || msg.Error != nil:
			m.answer(msg)
		}
	}
	if m.err == nil {
		m.err = lines.Err()
	}
	if m.err == nil {
		m.err = io.EOF
	}
	m.conn.Close()
	close(m.done)
}

func (m *monitor) answer(msg qmpMessage) {
	m.mu.Lock()
	waiting := m.pending[msg.ID]
	delete(m.pending, msg.ID)
	m.mu.Unlock()
	if waiting != nil {
		waiting <- msg
	}
}

// handshake waits for QEMU's greeting and ends QMP's negotiation mode.
func (m *monitor) handshake(ctx context.Context) error {
	select {
	case <-m.ready:
	case <-m.done:
		return m.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return m.execute(ctx, "qmp_capabilities")
}

// execute runs a command that has neither arguments nor an answer worth reading.
func (m *monitor) execute(ctx context.Context, command string) error {
	answer := make(chan qmpMessage, 1)
	id, err := m.send(command, answer)
	if err != nil {
		return fmt.Errorf("QMP %s: %w", command, err)
	}
	select {
	case msg := <-answer:
		if msg.Error != nil {
			return fmt.Errorf("QMP %s: %w", command, msg.Error)
		}
		return nil
	case <-m.done:
		return fmt.Errorf("QMP %s: %w", command, m.err)
	case <-ctx.Done():
		m.mu.Lock()
		delete(m.pending, id)
		m.mu.Unlock()
		return fmt.Errorf("QMP %s: %w", command, context.Cause(ctx))
	}
}

// send sends a command and returns its ID.
func (m *monitor) send(command string, answer chan<- qmpMessage) (id int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lastID++
	line, err := json.Marshal(struct {
		Execute string `json:"execute"`
		ID      int    `json:"id"`
	}{command, m.lastID})
	if err != nil {
		return 0, err
	}
	m.pending[m.lastID] = answer
	// A QEMU that is stopped reads nothing, and the lock is held.
	_ = m.conn.SetWriteDeadline(time.Now().Add(qmpWriteTimeout))
	if _, err := m.conn.Write(append(line, '\n')); err != nil {
		delete(m.pending, m.lastID)
		m.conn.Close() // half a command may have been sent
		return 0, err
	}
	return m.lastID, nil
}

// data returns the fields of the event, none if they cannot be read.
func (e qmpEvent) data() map[string]any {
	var fields map[string]any
	_ = json.Unmarshal(e.Data, &fields)
	return fields
}

// text returns a field that is a text, else "".
func text(field any) string {
	s, _ := field.(string)
	return s
}
