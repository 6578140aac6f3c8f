package ext4

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Info is the part of a superblock that [Inspect] reads.
type Info struct {
	Size int64 // bytes of the file system
	// Unclean means that the file system is mounted somewhere, or was when the power
	// failed. With a journal the kernel sets the feature needs_recovery, without one it
	// clears the state "valid" (Documentation/filesystems/ext4/super.rst).
	Unclean bool
}

// ErrForeign reports a file that does not hold an ext4 file system.
var ErrForeign = errors.New("not an ext4 file system")

const (
	needsRecovery = 0x4 // in Incompat
	stateValid    = 0x1 // in State
	maxLogBlock   = 6   // 64 KiB
)

// Inspect reads the superblock of a file system that any program may have written.
func Inspect(r io.ReaderAt) (Info, error) {
	b := make([]byte, superSize)
	if _, err := r.ReadAt(b, superSize); errors.Is(err, io.EOF) {
		return Info{}, ErrForeign
	} else if err != nil {
		return Info{}, fmt.Errorf("superblock: %w", err)
	}
	var s superblock
	if _, err := binary.Decode(b, binary.LittleEndian, &s); err != nil {
		return Info{}, fmt.Errorf("superblock: %w", err)
	}
	blocks := uint64(s.BlocksLow)
	if s.Incompat&0x80 != 0 { // 64bit
		blocks |= uint64(s.BlocksHigh) << 32
	}
	if s.Magic != superMagic || s.LogBlock > maxLogBlock || blocks > 1<<62>>(10+s.LogBlock) {
		return Info{}, ErrForeign
	}
	return Info{
		Size:    int64(blocks << (10 + s.LogBlock)),
		Unclean: s.Incompat&needsRecovery != 0 || s.State&stateValid == 0,
	}, nil
}
