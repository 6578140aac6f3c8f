package provider

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// Holder is who holds a lock, in the words of the lock's file. Alone they tell nothing: a
// process that was killed leaves them behind. Only the lock says whether somebody holds it.
type Holder struct {
	PID     int       `json:"pid"`
	Command string    `json:"command"` // "stead apply"
	User    string    `json:"user,omitempty"`
	Since   time.Time `json:"since"`
	Doing   string    `json:"doing,omitempty"` // "creating dev"
}

// String names the holder for people: "stead apply (pid 123, since 12:01:05, creating dev)".
func (h Holder) String() string {
	if h.PID == 0 {
		return "another stead"
	}
	layout := time.TimeOnly
	if time.Since(h.Since) > 12*time.Hour {
		layout = time.DateTime
	}
	parts := []string{fmt.Sprintf("pid %d", h.PID), "since " + h.Since.Local().Format(layout)}
	if me, err := HostUser(); err != nil || h.User != me.Name {
		parts = append(parts, "user "+h.User)
	}
	if h.Doing != "" {
		parts = append(parts, h.Doing)
	}
	return h.Command + " (" + strings.Join(parts, ", ") + ")"
}

// sign writes who has taken the lock, into the locked file itself: a reader that comes in
// between finds words that are no JSON. Without room for them the holder has no name, and
// can still free room.
func (l lock) sign(h Holder) {
	if text, err := json.Marshal(h); err == nil {
		_ = os.WriteFile(l.path, append(text, '\n'), 0o600)
	}
}

// erase removes the holder's words. Where that fails they say what those of a killed
// process say: nothing.
func (l lock) erase() { _ = os.Truncate(l.path, 0) }

// holder reads who has taken a lock that is held. Words of a dead process are not those
// of the holder, which has not written its own yet.
func (l lock) holder() Holder {
	text, err := os.ReadFile(l.path)
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
