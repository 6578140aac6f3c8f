package ext4

import (
	"errors"
	"fmt"

	"github.com/stead-vm/stead/provider/size"
)

// LayerError reports a layer that cannot be read or an entry that ext4 cannot store.
type LayerError struct {
	Layer string // Layer.Name
	Path  string // the entry's path as the layer spells it; empty if the stream itself is at fault
	Err   error
}

// Error names the layer and the path.
func (e *LayerError) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("layer %s: %v", e.Layer, e.Err)
	}
	return fmt.Sprintf("layer %s: %q: %v", e.Layer, e.Path, e.Err)
}

// Unwrap returns the cause.
func (e *LayerError) Unwrap() error { return e.Err }

// NoSpaceError reports an image that does not fit.
type NoSpaceError struct {
	Size int64 // requested bytes
	Need int64 // sufficient bytes; only a lower bound if the image is far larger than Size
}

// Error names both sizes.
func (e *NoSpaceError) Error() string {
	return fmt.Sprintf("a disk of %s is too small for this image, which needs at least %s",
		size.Setting(e.Size), size.Measured(e.Need))
}

// Remedy names a sufficient size.
func (e *NoSpaceError) Remedy() string {
	return fmt.Sprintf("set the disk to %s or more; unused space costs nothing", size.Setting((e.Need+1<<20-1)>>20<<20))
}

// errFull stops reading layers that are far too large for the disk.
var errFull = errors.New("far more than the disk can hold")

// hopeless reports whether the layers are far too large for the disk. It bounds the time
// and memory that a small layer which unpacks to a lot of data can cost. The limit is
// generous: upper layers may remove files again, and the error can name the exact size
// that is needed if it is not much more.
func (m *merger) hopeless() bool {
	return m.content.space.hopeless() || m.tree.count()/2 > m.content.space.geo.inodes()
}

func (a *allocator) hopeless() bool {
	const further = 64 << 30 / blockSize
	return a.frontier/2 > a.geo.blocks+further
}

// noSpace returns a *[NoSpaceError] unless everything has fit. Because allocation
// continues past the end of a full disk, the error can name the size of the smallest
// sufficient disk, within two percent.
func (w *writer) noSpace(inodes int) error {
	if w.space.peak <= w.geo.blocks && inodes <= w.geo.inodes() {
		return nil
	}
	need := w.space.peak
	for group := range uint32(w.space.peak/blocksPerGroup) + 1 {
		need -= min(need, uint64(w.geo.metaBlocks(group)))
	}
	need -= uint64(w.geo.journalBlocks())
	const mib = 1 << 20 / blockSize
	blocks := (w.geo.blocks + mib - 1) / mib * mib
	for ; ; blocks += max(mib, blocks/64/mib*mib) {
		g := newGeometry(blocks)
		if g.inodes() >= inodes && g.contentBlocks() >= need+uint64(g.journalBlocks()) {
			break
		}
	}
	return &NoSpaceError{Size: int64(w.geo.blocks * blockSize), Need: int64(blocks * blockSize)}
}
