// Package ext4 turns the layers of an OCI image into the disk that a machine boots
// from: a sparse, journaled ext4 file system.
//
// It exists because nothing else makes this disk without root and without leaving
// the process: the usual libraries make read-only file systems, lack a journal or
// cannot express what an image holds. It writes only what a fresh file system has
// (no editing, no reading back), which is why it can be small and as fast as the
// storage: file contents go to their final place while the layers are read, and
// everything else follows at the end.
//
// Layers are merged as the OCI image specification says (layer.md, "Applying
// Changesets"), but independently of the order of entries where the specification
// is silent: a whiteout never hides what its own layer adds.
//
// On-disk structures follow the kernel's Documentation/filesystems/ext4. The
// feature set is the one that the kernel can grow online: no resize_inode, so that
// it converts to meta_bg when needed.
package ext4

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// Layer opens one layer of an image as an uncompressed tar stream. The stream is
// read to its end, trailing padding included, so that a reader which checks a
// digest at the end gets to do so.
type Layer struct {
	Name string // for errors: the layer's digest
	Open func() (io.ReadCloser, error)
}

// File is where a file system is written: usually an [os.File]. What it held before
// is lost. WriteAt is called from one goroutine at a time.
type File interface {
	io.WriterAt
	Truncate(size int64) error
}

// FormatVersion counts the changes of what [Write] makes of the same input. Whoever
// keeps disks to use them again keeps it with them, so that a disk of another version of
// this program is not taken for what this one would make.
const FormatVersion = 2

// Options says what kind of file system to make.
type Options struct {
	Size   int64  // required: bytes of the file, a multiple of 4096 from MinSize to MaxSize
	Digest string // required: the image's; UUID and hash seed come from it, nothing from chance or clock
	Label  string // optional: volume name, at most 16 bytes
}

// Limits of Options.Size, in bytes. MaxSize keeps inode numbers and group
// descriptors well inside their fields.
const (
	MinSize = 64 << 20
	MaxSize = 32 << 40
)

// Stats describes what Write made.
type Stats struct {
	Inodes  int   // files, folders and others, those that ext4 reserves not counted
	Used    int64 // bytes in use inside the file system, its own structures included
	Written int64 // bytes written to the file
}

// Write makes an ext4 file system in f from layers, the bottom one first.
//
// The same input gives the same bytes. A *[LayerError] tells which entry of which
// layer cannot be stored, a *[NoSpaceError] that o.Size is too small. After an
// error, cancellation included, the content of f is worthless.
func Write(ctx context.Context, f File, layers []Layer, o Options) (Stats, error) {
	geo, err := o.geometry()
	if err != nil {
		return Stats{}, err
	}
	if len(layers) > math.MaxUint16 {
		return Stats{}, fmt.Errorf("ext4: an image of %d layers: at most %d can be merged", len(layers), math.MaxUint16)
	}
	// By way of zero, for the format relies on holes where nothing is written.
	for _, size := range []int64{0, o.Size} {
		if err := f.Truncate(size); err != nil {
			return Stats{}, fmt.Errorf("make a disk of %d bytes: %w", o.Size, err)
		}
	}
	w := newWriter(f, geo, o)
	err = w.writeAll(ctx, layers)
	if cerr := w.out.close(); err == nil || errors.Is(err, errSink) {
		err = cerr
	}
	if err != nil {
		return Stats{}, err
	}
	return Stats{Inodes: w.files, Used: w.used * blockSize, Written: w.out.written}, nil
}

func (o Options) geometry() (geometry, error) {
	switch {
	case o.Digest == "":
		return geometry{}, errors.New("ext4: Options.Digest is required")
	case len(o.Label) > 16:
		return geometry{}, fmt.Errorf("ext4: label %q is longer than 16 bytes", o.Label)
	case o.Size%blockSize != 0:
		return geometry{}, fmt.Errorf("ext4: size %d is not a multiple of %d", o.Size, blockSize)
	case o.Size < MinSize:
		return geometry{}, fmt.Errorf("ext4: size %d is below the smallest, %d", o.Size, MinSize)
	case o.Size > MaxSize:
		return geometry{}, fmt.Errorf("ext4: size %d is above the largest, %d", o.Size, int64(MaxSize))
	}
	return newGeometry(uint64(o.Size / blockSize)), nil
}

// writer holds one file system while it is made.
type writer struct {
	geo      geometry
	label    string
	uuid     [16]byte
	hashSeed [4]uint32
	seed     uint32 // of all metadata checksums
	tree     *tree
	space    *allocator
	out      *sink
	journal  nodeID

	files int   // inodes in use, without the reserved ones
	used  int64 // blocks in use
}

func newWriter(f File, geo geometry, o Options) *writer {
	w := &writer{geo: geo, label: o.Label, out: newSink(f, geo.blocks)}
	sum := sha256.Sum256([]byte("ext4\x00" + o.Digest))
	copy(w.uuid[:], sum[:16])
	w.uuid[6] = w.uuid[6]&0x0f | 0x80 // RFC 9562: version 8, custom
	w.uuid[8] = w.uuid[8]&0x3f | 0x80 // and its variant
	for i := range w.hashSeed {
		w.hashSeed[i] = binary.LittleEndian.Uint32(sum[16+4*i:])
	}
	w.seed = checksum(math.MaxUint32, w.uuid[:])
	w.space = newAllocator(geo)
	w.tree = newTree(w.space.release)
	return w
}

// writeAll takes the journal's blocks first, to have them in one piece, and lets
// contents follow.
func (w *writer) writeAll(ctx context.Context, layers []Layer) error {
	w.reserveJournal()
	for i, l := range layers {
		m := merger{tree: w.tree, content: contentWriter{space: w.space, out: w.out}, layer: uint16(i)}
		err := m.apply(ctx, l)
		if err == errFull {
			return w.noSpace(w.tree.count())
		}
		if err != nil {
			return err
		}
		w.space.settle()
	}
	order, err := w.number()
	if err != nil {
		return err
	}
	if err := w.writeInodes(ctx, order); err != nil {
		return err
	}
	if err := w.noSpace(len(order)); err != nil {
		return err
	}
	w.writeJournal()
	return w.writeGroups(len(order))
}
