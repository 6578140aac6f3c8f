// Package regular opens files that users and projects name: project files, Dockerfiles,
// kernels, image archives. A name may lead anywhere, also to a named pipe, whose open waits
// for a writer, to a device without end, or to a file that is larger than memory. This
// package refuses these with an error that says what the file is.
package regular

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/stead-vm/stead/provider/size"
)

// TypeError reports a file that is not a regular one.
type TypeError struct {
	Path string
	Type string // "a named pipe"
}

func (e *TypeError) Error() string { return e.Path + " is " + e.Type + ", not a regular file" }

// Remedy says what to name instead.
func (e *TypeError) Remedy() string {
	if e.Type == directory {
		return "name a file"
	}
	return "name a regular file; copy what " + e.Type + " provides into one first"
}

// SizeError reports a file that is too large for its purpose.
type SizeError struct {
	Path        string
	Size, Limit int64 // bytes; Size may be what was read until Limit was passed
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("%s is too large: it has %s, and the limit is %s", e.Path, size.Measured(e.Size), size.Measured(e.Limit))
}

// Open opens the regular file that path leads to, for reading. It follows symbolic links. Its
// error for any other file is a [*TypeError], and it never waits for one.
func Open(path string) (*os.File, error) { return OpenFile(path, os.O_RDONLY) }

// OpenFile is [Open] with the access flag: os.O_RDONLY, os.O_WRONLY or os.O_RDWR.
func OpenFile(path string, flag int) (*os.File, error) {
	// Opening a device can have effects of its own, such as rewinding a tape or arming a
	// watchdog, so look before.
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if err := check(path, info); err != nil {
		return nil, err
	}
	// The file may have been replaced since.
	f, err := os.OpenFile(path, flag|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	if err := accept(f, path); err != nil {
		_ = f.Close() // nothing was written
		return nil, err
	}
	return f, nil
}

// accept returns an error unless f is a regular file. It makes reads wait again, as whoever
// inherits the file expects.
func accept(f *os.File, path string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := check(path, info); err != nil {
		return err
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var system string
	cerr := conn.Control(func(fd uintptr) {
		system = kernelFiles(int(fd))
		err = syscall.SetNonblock(int(fd), false)
	})
	switch {
	case cerr != nil:
		return cerr
	case system != "":
		return &TypeError{Path: path, Type: "a file of " + system}
	}
	return err
}

// OpenAtMost is [Open] for a file of at most limit bytes. The error for a larger one is a
// [*SizeError].
func OpenAtMost(path string, limit int64) (*os.File, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() > limit {
		err = &SizeError{Path: path, Size: info.Size(), Limit: limit}
	}
	if err != nil {
		_ = f.Close() // only read from
		return nil, err
	}
	return f, nil
}

// ReadFile returns the content of a regular file of at most limit bytes. The error for a
// larger one is a [*SizeError].
func ReadFile(path string, limit int64) ([]byte, error) {
	f, err := OpenAtMost(path, limit)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read from
	var content bytes.Buffer
	n, err := io.Copy(&content, io.LimitReader(f, limit+1))
	if err == nil && n > limit { // it has grown
		err = &SizeError{Path: path, Size: n, Limit: limit}
	}
	if err != nil {
		return nil, err
	}
	return content.Bytes(), nil
}

const directory = "a directory"

// check returns a [*TypeError] unless info is that of a regular file.
func check(path string, info fs.FileInfo) error {
	e := &TypeError{Path: path}
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return nil
	case mode.IsDir():
		e.Type = directory
	case mode&fs.ModeNamedPipe != 0:
		e.Type = "a named pipe"
	case mode&fs.ModeSocket != 0:
		e.Type = "a socket"
	case mode&fs.ModeDevice != 0:
		e.Type = "a device"
	default:
		e.Type = "a special file"
	}
	return e
}
