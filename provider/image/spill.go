package image

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// maxSpill is how much may be put aside, in bytes.
	maxSpill = 512 << 20
	// spillShare is the part of the free space that may be used for it: the disk that
	// is being made needs the rest.
	spillShare = 8
)

// spill keeps chunks in a file, which the page cache holds as long as there is memory
// and which never outlives the process.
type spill struct {
	dir string

	mu    sync.Mutex
	file  *os.File // once something was put aside
	limit int64    // bytes, once the file is there
	end   int64
	holes []int64 // places that are free again
	off   bool    // it has failed once
}

// put keeps a chunk; ok is false where it cannot.
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

// open makes the file, without a name from then on.
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

// get reads from what was put aside.
func (s *spill) get(p []byte, off int64) (int, error) { return s.file.ReadAt(p, off) }

// free gives a chunk's place back.
func (s *spill) free(off int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holes = append(s.holes, off)
}

func (s *spill) close() {
	if s.file != nil {
		_ = s.file.Close() // nobody needs it any more
	}
}
