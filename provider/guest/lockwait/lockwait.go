// Package lockwait is how the agent ends waits for file locks in shared directories.
//
// A program of the guest that waits for a lock waits for the file server's answer. Linux tells a
// FUSE server when such a program gets a signal, but not over virtiofs (see
// virtio_fs_send_interrupt in fs/fuse/virtio_fs.c), so that it could not even be killed. Instead,
// the agent asks the server which threads wait, and ends the waits of those that have a signal:
// the kernel then handles it, and repeats the call if that is due.
//
// It asks by reading extended attributes of the share's root directory. They are on no disk, and
// only the guest's root may use attributes with this prefix; see xattr(7). Reading works on a
// read-only share as well.
package lockwait

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// Attribute has the threads that wait, as [Encode] writes them.
const Attribute = "trusted.stead.lock-waits"

// interruptPrefix and a wait's number name the attribute whose reading ends the wait.
const interruptPrefix = "trusted.stead.lock-interrupt."

// MaxSize is the largest value of Attribute, in bytes: XATTR_SIZE_MAX of linux/limits.h.
const MaxSize = 64 << 10

// Wait is a thread that waits for a lock.
type Wait struct {
	ID     uint64 // number of the wait in this mount
	Thread int    // id of the thread in the guest
}

// Encode returns the value of Attribute: one line for each wait, with its two numbers. It leaves
// out what does not fit.
func Encode(waits []Wait) []byte {
	var b []byte
	for _, w := range waits {
		line := fmt.Appendf(nil, "%d %d\n", w.ID, w.Thread)
		if len(b)+len(line) > MaxSize {
			break
		}
		b = append(b, line...)
	}
	return b
}

// Decode parses the value of Attribute.
func Decode(value []byte) (waits []Wait, err error) {
	for line := range bytes.Lines(value) {
		var w Wait
		if _, err := fmt.Sscanf(string(line), "%d %d\n", &w.ID, &w.Thread); err != nil {
			return nil, fmt.Errorf("parse %q of %s: %w", line, Attribute, err)
		}
		waits = append(waits, w)
	}
	return waits, nil
}

// Interrupt returns the name of the attribute whose reading ends the wait. It has no value.
func Interrupt(id uint64) string { return interruptPrefix + strconv.FormatUint(id, 10) }

// ParseInterrupt returns the number of the wait that reading the attribute ends.
func ParseInterrupt(attribute string) (id uint64, ok bool) {
	digits, ok := strings.CutPrefix(attribute, interruptPrefix)
	if !ok {
		return 0, false
	}
	id, err := strconv.ParseUint(digits, 10, 64)
	return id, err == nil
}
