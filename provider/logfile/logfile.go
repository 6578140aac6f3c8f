// Package logfile keeps logs that cannot fill the disk, and reads them back.
//
// What writes to a log may be hostile: a guest prints on its console what it likes, for as
// long as it likes. So a log is at most two files of a bounded size. The newer one has the
// log's name, and the older one is named by [Older].
package logfile

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Limit is the size of each of a log's two files, in bytes.
const Limit = 8 << 20

// Older returns the path of a log's older file: "console.old.log" for "console.log". It keeps
// the suffix, by which the logs of a machine are found.
func Older(path string) string {
	suffix := filepath.Ext(path)
	return strings.TrimSuffix(path, suffix) + ".old" + suffix
}

// Writer appends to a log. It is safe for concurrent use, but not by two processes.
type Writer struct {
	path  string
	limit int64
	began func(*os.File) // called with each file that is opened; may be nil

	mu   sync.Mutex
	file *os.File // nil after an error and after Close
	size int64
}

// Open opens the log at path, which it creates with mode 0600. It calls began, which may be
// nil, with each file that it opens, now and later.
func Open(path string, began func(*os.File)) (*Writer, error) {
	w := &Writer{path: path, limit: Limit, began: began}
	return w, w.open()
}

func (w *Writer) open() error {
	f, err := os.OpenFile(w.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	w.file, w.size = f, info.Size()
	if w.began != nil {
		w.began(f)
	}
	return nil
}

// Write appends p. If the file is full, it becomes the older file, and the log goes on in a
// new one. Write tries again to open a file that it could not open, as on a full disk.
func (w *Writer) Write(p []byte) (written int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(p) > 0 {
		if err := w.makeRoom(); err != nil {
			return written, err
		}
		n, err := w.file.Write(p[:min(int64(len(p)), w.limit-w.size)])
		w.size += int64(n)
		written += n
		if err != nil {
			return written, err
		}
		p = p[n:]
	}
	return written, nil
}

// makeRoom opens a file that has room.
func (w *Writer) makeRoom() error {
	if w.file == nil {
		if err := w.open(); err != nil {
			return err
		}
	}
	if w.size < w.limit {
		return nil
	}
	err := w.file.Close()
	w.file = nil
	if err == nil {
		err = os.Rename(w.path, Older(w.path))
	}
	if err != nil {
		return err
	}
	return w.open()
}

// Close closes the file.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file == nil {
		return nil
	}
	err := w.file.Close()
	w.file = nil
	return err
}
