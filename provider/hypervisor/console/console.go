// Package console takes what a guest prints on its console.
//
// A hypervisor cannot distinguish a kernel that panicked from one that restarts or idles:
// QEMU sees a reset and Virtualization.framework sees nothing at all. The kernel prints
// its panic on the console, so whoever reads the console knows.
package console

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// lookBack is how much of the console's end is kept, in bytes: a panic is the last
	// thing that a kernel prints, and registers and a stack trace follow its message.
	lookBack = 64 << 10
	// lastWords is more than the line that ends a panic: the kernel formats its message
	// into 1024 bytes.
	lastWords = 2 << 10
)

// A guest may print as fast as it can, for as long as it runs. A burst passes at once, which is
// enough for the messages of a boot. On average the console takes flow bytes a second,
// five times what a real serial line carries at 115,200 baud. A guest that prints more waits,
// and nothing is lost.
const (
	burst = 4 << 20
	flow  = 64 << 10
	chunk = 4 << 10 // bytes that are read at once
)

// What the kernel prints in a panic, from its kernel/panic.c.
const (
	panicWords = "Kernel panic - not syncing: "
	endWords   = "---[ end " + panicWords
	endMark    = " ]---"
)

// Console is the console of one boot. It is safe for concurrent use.
type Console struct {
	log   io.Writer
	rate  *rate.Limiter
	ended chan struct{} // closed when Copy has returned

	mu   sync.Mutex
	text []byte // the end of what was printed, at most twice lookBack
}

// New returns a console that passes what is printed on to log, which may be nil.
func New(log io.Writer) *Console {
	if log == nil {
		log = io.Discard
	}
	return &Console{log: log, rate: rate.NewLimiter(flow, burst), ended: make(chan struct{})}
}

// Copy takes what the guest prints from the guest's end until that is closed. It is called
// once. When over is done, the guest has ended, and what it still has to say is not slowed
// down.
func (c *Console) Copy(over context.Context, guest io.Reader) {
	defer close(c.ended)
	buf := make([]byte, chunk)
	for {
		n, err := guest.Read(buf)
		c.keep(buf[:n])
		// A log that cannot be written must not stop the guest.
		_, _ = c.log.Write(buf[:n])
		if err != nil {
			return
		}
		_ = c.rate.WaitN(over, n)
	}
}

// Ended is closed when Copy has returned: everything that the guest printed is known.
func (c *Console) Ended() <-chan struct{} { return c.ended }

func (c *Console) keep(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text = append(c.text, p...)
	if len(c.text) > 2*lookBack {
		c.text = append(c.text[:0], c.text[len(c.text)-lookBack:]...)
	}
}

// Panic returns a [PanicError] with the message of the guest kernel's panic, or nil if
// there was none. Call it after the machine has ended or reset.
func (c *Console) Panic() error {
	_, message, found := bytes.Cut(c.tail(lookBack), []byte(panicWords))
	if !found {
		return nil
	}
	message, _, _ = bytes.Cut(message, []byte("\n"))
	return &PanicError{Message: string(bytes.TrimSpace(message))}
}

// Halted is Panic for a machine that still runs. It returns an error only if the end of a
// panic is the last thing on the console: a running guest may print another guest's log.
func (c *Console) Halted() error {
	text := bytes.TrimSpace(c.tail(lastWords))
	last := text[bytes.LastIndexByte(text, '\n')+1:]
	_, message, found := bytes.Cut(last, []byte(endWords))
	message, whole := bytes.CutSuffix(message, []byte(endMark))
	if !found || !whole {
		return nil
	}
	return &PanicError{Message: string(bytes.TrimSpace(message))}
}

// Watch reads the console at this interval until gone is closed. If the kernel halts,
// Watch calls halted once and returns.
func (c *Console) Watch(gone <-chan struct{}, every time.Duration, halted func(error)) {
	look := time.NewTicker(every)
	defer look.Stop()
	for {
		select {
		case <-gone:
			return
		case <-look.C:
			if err := c.Halted(); err != nil {
				halted(err)
				return
			}
		}
	}
}

// Last returns the last lines that the guest printed, at most n, without empty ones.
func (c *Console) Last(n int) []string {
	var lines []string
	for line := range strings.Lines(string(c.tail(lastWords * 4))) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines[max(0, len(lines)-n):]
}

// tail returns the end of what this boot printed, at most limit bytes.
func (c *Console) tail(limit int) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Clone(c.text[max(0, len(c.text)-limit):])
}

// PanicError reports that the guest's kernel panicked.
type PanicError struct{ Message string }

func (e *PanicError) Error() string { return "the guest's kernel panicked: " + e.Message }
