// Package ext4 turns the layers of an OCI image into the disk that a machine boots
// from: a sparse, journaled ext4 file system.
//
// No other library creates this disk in-process and without root: the usual ones
// create read-only file systems, lack a journal or cannot express what an image
// holds. This package only writes new file systems; it neither edits nor reads back
// existing ones. That keeps it small and as fast as the storage: file contents go to
// their final place while the layers are read, and everything else follows at the
// end.
//
// Layers are merged as the OCI image specification says (layer.md, "Applying
// Changesets"). Where the specification is silent, the order of entries does not
// matter: a whiteout never hides what its own layer adds, and an entry below a symlink
// of a lower layer goes where that leads unless its own layer has a directory instead.
//
// On-disk structures follow the kernel's Documentation/filesystems/ext4. The kernel
// can grow the file system online: without resize_inode it converts to meta_bg when
// needed.
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
// read to its end, trailing padding included, so that a reader can verify a digest
// there.
type Layer struct {
	Name string // for errors: the layer's digest
	Open func() (io.ReadCloser, error)
}

// File is the destination of a file system, usually an [os.File]. Its previous content
// is lost. WriteAt is called from one goroutine at a time.
type File interface {
	io.WriterAt
	Truncate(size int64) error
}

// FormatVersion changes whenever [Write] writes other bytes for the same input. A cache
// of disks must store it with each disk, so that it does not reuse a disk that another
// version of this program has written differently.
const FormatVersion = 3

// Options describes the file system to create.
type Options struct {
	Size   int64  // required: bytes of the file, a multiple of 4096 from MinSize to MaxSize
	Digest string // required: the image's; UUID and hash seed derive from it alone
	Label  string // optional: volume name, at most 16 bytes
}

// Limits of Options.Size, in bytes. With MaxSize, inode numbers and group descriptors
// stay well within their fields.
const (
	MinSize = 64 << 20
	MaxSize = 32 << 40
)

// Stats describes what Write has written.
type Stats struct {
	Inodes  int   // files, directories and others, without the inodes that ext4 reserves
	Used    int64 // bytes in use inside the file system, including its own structures
	Written int64 // bytes written to the file
}

// Write creates an ext4 file system in f from layers, the bottom one first.
//
// The same input gives the same bytes. A *[LayerError] names the entry that cannot be
// stored and its layer; a *[NoSpaceError] says that o.Size is too small. After an
// error, cancellation included, the content of f is undefined.
func Write(ctx context.Context, f File, layers []Layer, o Options) (Stats, error) {
	geo, err := o.geometry()
	if err != nil {
		return Stats{}, err
	}
	if len(layers) > math.MaxUint16 {
		return Stats{}, fmt.Errorf("ext4: too many layers: %d, more than %d", len(layers), math.MaxUint16)
	}
	// Truncate to zero first: unwritten parts must be holes.
	for _, size := range []int64{0, o.Size} {
		if err := f.Truncate(size); err != nil {
			return Stats{}, fmt.Errorf("create a disk of %d bytes: %w", o.Size, err)
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
		return geometry{}, fmt.Errorf("ext4: size %d is below the minimum, %d", o.Size, MinSize)
	case o.Size > MaxSize:
		return geometry{}, fmt.Errorf("ext4: size %d is above the maximum, %d", o.Size, int64(MaxSize))
	}
	return newGeometry(uint64(o.Size / blockSize)), nil
}

// writer holds the state of one file system while it is written.
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

// writeAll writes the whole file system. It reserves the journal's blocks first, so
// that they are contiguous.
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
