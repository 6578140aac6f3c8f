//go:build linux

package qemu

import (
	"bytes"
	"fmt"
	"os"
)

// consoleLog reads what one boot added to the log.
type consoleLog struct {
	path  string
	start int64
}

// openConsoleLog makes the log before QEMU would, which would let everybody read it.
func openConsoleLog(path string) (consoleLog, error) {
	if path == "" {
		return consoleLog{}, nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return consoleLog{}, fmt.Errorf("console log: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return consoleLog{}, fmt.Errorf("console log: %w", err)
	}
	return consoleLog{path: path, start: info.Size()}, nil
}

// panicMessage returns what the guest's kernel said when it gave up, or "". A kernel
// that panics resets the machine, which looks like a reboot otherwise.
func (l consoleLog) panicMessage() string {
	f, err := os.Open(l.path)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	const end = 64 << 10 // a panic is the last thing that a kernel says
	text := make([]byte, min(end, max(0, info.Size()-l.start)))
	n, _ := f.ReadAt(text, info.Size()-int64(len(text)))
	_, message, found := bytes.Cut(text[:n], []byte("Kernel panic - not syncing: "))
	if !found {
		return ""
	}
	message, _, _ = bytes.Cut(message, []byte("\n"))
	return string(bytes.TrimSpace(message))
}
