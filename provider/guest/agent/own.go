//go:build linux

package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync"
)

// ownFiles writes files that belong to the user as soon as the user has changed them. A record on
// the machine's disk says what the agent has written last.
type ownFiles struct {
	mu     sync.Mutex
	record string // path of the record
}

// agentFiles are what the agent writes to the machine's disk at each boot.
var agentFiles = &ownFiles{record: filepath.Join(stateDir, "written.json")}

// write makes path a regular file with the text, unless what is there is neither what the image
// brought nor what the agent wrote last. It reports whether the file is the agent's.
func (o *ownFiles) write(path, text string, mode os.FileMode) (mine bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	written, err := o.read()
	if err != nil {
		return false, err
	}
	if last, known := written[path]; known && !isSum(path, last) {
		return false, nil
	}
	if err := replaceFile(path, text, mode); err != nil {
		return true, err
	}
	if written[path] == sum(text) {
		return true, nil
	}
	written[path] = sum(text)
	record, err := json.Marshal(written)
	if err != nil {
		return true, err
	}
	return true, replaceFile(o.record, string(record)+"\n", 0o644)
}

// read returns the record: a sum for each path. A damaged record counts as none.
func (o *ownFiles) read() (map[string]string, error) {
	text, err := readOptional(o.record)
	if err != nil {
		return nil, err
	}
	written := map[string]string{}
	if json.Unmarshal([]byte(text), &written) != nil {
		return map[string]string{}, nil
	}
	return written, nil
}

func sum(text string) string {
	s := sha256.Sum256([]byte(text))
	return hex.EncodeToString(s[:])
}

// isSum reports whether path is a regular file with this sum, or missing.
func isSum(path, want string) bool {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return true
	}
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	text, err := os.ReadFile(path)
	return err == nil && sum(string(text)) == want
}
