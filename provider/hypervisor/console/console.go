// Package console reads from a machine's console log why its guest ended.
//
// A hypervisor cannot distinguish a kernel that panicked from one that restarts or idles:
// QEMU sees a reset and Virtualization.framework sees nothing at all. The kernel prints
// its panic on the console, whose log is a file of the machine.
package console

import (
	"bytes"
	"fmt"
	"os"
	"time"
)

const (
	// lookBack is how much of the log's end is searched, in bytes: a panic is the last
	// thing that a kernel prints, and registers and a stack trace follow its message.
	lookBack = 64 << 10
	// lastWords is more than the line that ends a panic: the kernel formats its message
	// into 1024 bytes.
	lastWords = 2 << 10
)

// What the kernel prints in a panic, from its kernel/panic.c.
const (
	panicWords = "Kernel panic - not syncing: "
	endWords   = "---[ end " + panicWords
	endMark    = " ]---"
)

// Log is the part of a machine's console log that one boot writes. The zero value is no log.
type Log struct {
	path  string
	start int64
}

// Open creates the log with mode 0600. The hypervisor would create it readable by
// everyone. An empty path is no log.
func Open(path string) (Log, error) {
	if path == "" {
		return Log{}, nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return Log{}, fmt.Errorf("console log: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Log{}, fmt.Errorf("console log: %w", err)
	}
	return Log{path: path, start: info.Size()}, nil
}

// Panic returns a [PanicError] with the message of the guest kernel's panic, or nil if
// there was none. Call it after the machine has ended or reset.
func (l Log) Panic() error {
	_, message, found := bytes.Cut(l.tail(lookBack), []byte(panicWords))
	if !found {
		return nil
	}
	message, _, _ = bytes.Cut(message, []byte("\n"))
	return &PanicError{Message: string(bytes.TrimSpace(message)), Log: l.path}
}

// Halted is Panic for a machine that still runs. It returns an error only if the end of a
// panic is the last thing on the console: a running guest may print another guest's log.
func (l Log) Halted() error {
	text := bytes.TrimSpace(l.tail(lastWords))
	last := text[bytes.LastIndexByte(text, '\n')+1:]
	_, message, found := bytes.Cut(last, []byte(endWords))
	message, whole := bytes.CutSuffix(message, []byte(endMark))
	if !found || !whole {
		return nil
	}
	return &PanicError{Message: string(bytes.TrimSpace(message)), Log: l.path}
}

// Watch reads the console at this interval until gone is closed. If the kernel halts,
// Watch calls halted once and returns.
func (l Log) Watch(gone <-chan struct{}, every time.Duration, halted func(error)) {
	if l.path == "" {
		return
	}
	look := time.NewTicker(every)
	defer look.Stop()
	for {
		select {
		case <-gone:
			return
		case <-look.C:
			if err := l.Halted(); err != nil {
				halted(err)
				return
			}
		}
	}
}

// tail returns the end of what this boot added, at most limit bytes.
func (l Log) tail(limit int64) []byte {
	if l.path == "" {
		return nil
	}
	f, err := os.Open(l.path)
	if err != nil {
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	text := make([]byte, min(limit, max(0, info.Size()-l.start)))
	n, _ := f.ReadAt(text, info.Size()-int64(len(text)))
	return text[:n]
}

// PanicError reports that the guest's kernel panicked.
type PanicError struct{ Message, Log string }

func (e *PanicError) Error() string { return "the guest's kernel panicked: " + e.Message }

// Remedy names the file to read.
func (e *PanicError) Remedy() string { return "read the end of the machine's console log, " + e.Log }
