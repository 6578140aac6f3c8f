package image

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// maxSpill is the maximum size of the file, in bytes.
	maxSpill = 512 << 20
	// spillShare limits the file to 1/spillShare of the free space: the disk that is being
	// created needs the rest.
	spillShare = 8
)

// spill keeps chunks in an unlinked file, which stays in the page cache as long as there is
// memory and never outlives the process.
type spill struct {
	dir string

	mu    sync.Mutex
	file  *os.File // nil until the first chunk is stored
	limit int64    // bytes; set with file
	end   int64
	holes []int64 // free places below end
	off   bool    // disabled after a failure
}

// put stores a chunk; ok is false if it cannot.
func (s *spill) put(b []byte) (off int64, ok bool) {
	f, off, ok := s.place()
	if !ok {
		return 0, false
	}
	if _, err := f.WriteAt(b, off); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.off = true
		return 0, false
	}
	return off, true
}

func (s *spill) place() (f *os.File, off int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil && !s.off {
		s.off = s.open() != nil
	}
	last := len(s.holes) - 1
	switch {
	case s.off:
		return nil, 0, false
	case last >= 0:
		off, s.holes = s.holes[last], s.holes[:last]
	case s.end+chunkSize <= s.limit:
		off = s.end
		s.end += chunkSize
	default:
		return nil, 0, false
	}
	return s.file, off, true
}

// open creates the file and unlinks it.
func (s *spill) open() error {
	var fs unix.Statfs_t
	if err := unix.Statfs(s.dir, &fs); err != nil {
		return err
	}
	f, err := os.CreateTemp(s.dir, "aside-")
	if err != nil {
		return err
	}
	if err := os.Remove(f.Name()); err != nil {
		return errors.Join(err, f.Close())
	}
	s.file, s.limit = f, min(maxSpill, int64(fs.Bavail)*int64(fs.Bsize)/spillShare) //nolint:unconvert // types differ by system
	return nil
}

// get reads from a stored chunk.
func (s *spill) get(p []byte, off int64) (int, error) { return s.file.ReadAt(p, off) }

// free frees a chunk's place.
func (s *spill) free(off int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holes = append(s.holes, off)
}

func (s *spill) close() {
	if s.file != nil {
		_ = s.file.Close() // its content is no longer needed
	}
}
