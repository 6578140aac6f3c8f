package bundle

import (
	"errors"
	"os"
	"time"
)

// Ended is why a machine's last run ended.
type Ended struct {
	Time  time.Time `json:"time"`
	Error string    `json:"error"` // lines that the guest printed may follow the first line
}

// vanished is the end of a run that was not recorded.
const vanished = "its last run ended without a record: its supervisor was killed, or the host went down"

// recordEnd records why a run ended; nil is an orderly end.
func (b Bundle) recordEnd(err error) error {
	if err == nil {
		return removeIfExists(b.Path(endedFile))
	}
	return WriteJSON(b.Path(endedFile), Ended{Time: time.Now().UTC(), Error: err.Error()})
}

// Ended returns why the last run of a stopped machine ended, or "" after an orderly end. A
// record that cannot be read is no record: it is for people only.
func (b Bundle) Ended() string {
	if _, err := os.Lstat(b.Path(bootedFile)); err == nil {
		return vanished
	}
	var e Ended
	if err := b.ReadJSON(endedFile, &e); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return ""
		}
		return err.Error()
	}
	return e.Error
}
