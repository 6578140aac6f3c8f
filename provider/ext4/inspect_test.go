package ext4

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

// superblockWith returns the beginning of a disk with an edited superblock.
func superblockWith(edit func(*superblock)) []byte {
	s := superblock{Magic: superMagic, State: stateValid, BlocksLow: 16384, LogBlock: log2BlockSize, Incompat: incompatFeatures}
	edit(&s)
	return append(make([]byte, superSize), s.bytes(0)...)
}

func TestInspectReportsSizeAndUse(t *testing.T) {
	tests := map[string]struct {
		disk []byte
		want Info
		err  error
	}{
		"ours":                           {superblockWith(func(*superblock) {}), Info{Size: 64 * mib}, nil},
		"mounted, with a journal":        {superblockWith(func(s *superblock) { s.Incompat |= needsRecovery }), Info{64 * mib, true}, nil},
		"mounted, without a journal":     {superblockWith(func(s *superblock) { s.State = 0 }), Info{64 * mib, true}, nil},
		"blocks of 1 KiB":                {superblockWith(func(s *superblock) { s.LogBlock = 0 }), Info{Size: 16 * mib}, nil},
		"more than 2^32 blocks":          {superblockWith(func(s *superblock) { s.BlocksHigh = 1 }), Info{Size: 1<<44 + 64*mib}, nil},
		"high blocks without 64bit":      {superblockWith(func(s *superblock) { s.BlocksHigh, s.Incompat = 1, 0 }), Info{Size: 64 * mib}, nil},
		"more than a file can have":      {superblockWith(func(s *superblock) { s.BlocksHigh = 1 << 31 }), Info{}, ErrForeign},
		"blocks that no kernel can have": {superblockWith(func(s *superblock) { s.LogBlock = 60 }), Info{}, ErrForeign},
		"no ext4":                        {make([]byte, 4096), Info{}, ErrForeign},
		"too short":                      {make([]byte, 1500), Info{}, ErrForeign},
		"empty":                          {nil, Info{}, ErrForeign},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Inspect(bytes.NewReader(tt.disk))
			if got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("Inspect = %+v, %v; want %+v, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

func FuzzInspect(f *testing.F) {
	f.Add(superblockWith(func(*superblock) {})[superSize:])
	f.Add(bytes.Repeat([]byte{0xff}, superSize))
	f.Fuzz(func(t *testing.T, super []byte) {
		disk := append(make([]byte, superSize), super...)
		if len(super) >= superSize {
			binary.LittleEndian.PutUint16(disk[superSize+0x38:], superMagic)
		}
		if info, err := Inspect(bytes.NewReader(disk)); err == nil && info.Size < 0 {
			t.Errorf("a file system of %d bytes", info.Size)
		}
	})
}
