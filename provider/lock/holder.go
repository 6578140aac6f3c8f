package lock

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/stead-vm/stead/provider/host"
	"github.com/stead-vm/stead/provider/printable"
)

// Holder is the process that holds a lock, as written in the lock's file. The file alone
// proves nothing, because a killed process leaves its text behind; only the lock does.
type Holder struct {
	PID     int       `json:"pid"`
	Command string    `json:"command"` // "stead apply"
	User    string    `json:"user,omitempty"`
	Since   time.Time `json:"since"`
	Doing   string    `json:"doing,omitempty"` // "creating dev"
}

// String describes the holder: "stead apply (pid 123, since 12:01:05, creating dev)".
func (h Holder) String() string {
	if h.PID == 0 {
		return "another stead process"
	}
	parts := []string{fmt.Sprintf("pid %d", h.PID), "since " + printable.Clock(h.Since)}
	if h.User != "" && h.User != host.User().Name {
		parts = append(parts, "user "+h.User)
	}
	if h.Doing != "" {
		parts = append(parts, h.Doing)
	}
	return h.Command + " (" + strings.Join(parts, ", ") + ")"
}

// sign writes the holder to the locked file in place: a concurrent reader may find text that
// is not JSON. If the disk is full, the lock is held without a name, so that commands that
// free space still work.
func (f File) sign(h Holder) {
	if text, err := json.Marshal(h); err == nil {
		_ = os.WriteFile(f.Path, append(text, '\n'), 0o600)
	}
}

// erase removes the holder's name. Text that cannot be removed does no harm, as after a killed
// process.
func (f File) erase() { _ = os.Truncate(f.Path, 0) }

// holder reads the name of the process that holds the lock. If the named process is dead, the
// holder has not written its name yet.
func (f File) holder() Holder {
	text, err := os.ReadFile(f.Path)
	if err != nil {
		return Holder{}
	}
	var h Holder
	if err := json.Unmarshal(text, &h); err != nil || h.PID <= 0 {
		return Holder{}
	}
	if err := syscall.Kill(h.PID, 0); errors.Is(err, syscall.ESRCH) {
		return Holder{}
	}
	return h
}
