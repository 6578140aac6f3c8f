package ext4

import (
	"errors"
	"fmt"

	"github.com/docker/go-units"
)

// LayerError reports an entry of a layer that cannot become part of a disk.
type LayerError struct {
	Layer string // Layer.Name
	Path  string // of the entry as the layer spells it; empty when the stream itself is at fault
	Err   error
}

// Error names layer and path.
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
	Size int64 // bytes asked for
	Need int64 // bytes that are enough; a lower bound where it is hopelessly more than Size
}

// Error names both sizes.
func (e *NoSpaceError) Error() string {
	return fmt.Sprintf("a disk of %s is too small for this image, which needs at least %s",
		units.BytesSize(float64(e.Size)), units.BytesSize(float64(e.Need)))
}

// Remedy says which size to use.
func (e *NoSpaceError) Remedy() string {
	return fmt.Sprintf("set the disk to %dM or more; unused space costs nothing", (e.Need+1<<20-1)>>20)
}

// errFull stops reading layers that no disk of the wanted size will hold.
var errFull = errors.New("far more than the disk can hold")

// hopeless bounds the time and memory that a small layer can cost which unpacks to
// much. It leaves room for what upper layers may take away again, and for saying
// exactly how large the disk has to be where that is not much more.
func (m *merger) hopeless() bool {
	return m.content.space.hopeless() || m.tree.count()/2 > m.content.space.geo.inodes()
}

func (a *allocator) hopeless() bool {
	const further = 64 << 30 / blockSize
	return a.frontier/2 > a.geo.blocks+further
}

// noSpace reports whether everything has fit. Because allocation continues past the
// end of a full disk, it is known how far that would have gone: the answer is the
// size of the smallest disk, within two percent, with room for as much.
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
