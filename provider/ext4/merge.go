package ext4

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

const (
	maxLinks = 65000 // EXT4_LINK_MAX

	whiteoutPrefix = ".wh."
	opaqueMarker   = ".wh..wh..opq"
	// metaPrefix begins the private names of aufs, which old layers contain. They are
	// skipped, as by other readers of layers.
	metaPrefix = ".wh..wh."
)

// merger applies one layer to a tree.
type merger struct {
	tree    *tree
	content contentWriter
	layer   uint16
}

// apply merges a layer into the tree and reads it to its end.
func (m *merger) apply(ctx context.Context, l Layer) (err error) {
	stream, err := l.Open()
	if err != nil {
		return &LayerError{Layer: l.Name, Err: err}
	}
	defer func() {
		if cerr := stream.Close(); err == nil && cerr != nil {
			err = &LayerError{Layer: l.Name, Err: cerr}
		}
	}()
	buffered := bufio.NewReaderSize(stream, 64<<10)
	tr := tar.NewReader(buffered)
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if m.hopeless() {
			return errFull
		}
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		// entry checks the paths.
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return &LayerError{Layer: l.Name, Err: fmt.Errorf("damaged tar stream: %w", err)}
		}
		if err := m.entry(ctx, h, tr); err != nil {
			if err == errSink || err == errFull || (ctx.Err() != nil && err == context.Cause(ctx)) {
				return err
			}
			return &LayerError{Layer: l.Name, Path: h.Name, Err: err}
		}
	}
	if _, err := io.Copy(io.Discard, buffered); err != nil {
		return &LayerError{Layer: l.Name, Err: err}
	}
	return nil
}

// entry applies one entry of the layer.
func (m *merger) entry(ctx context.Context, h *tar.Header, r io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	parts, err := splitPath(h.Name)
	if err != nil {
		return err
	}
	if len(parts) == 0 {
		if h.Typeflag != tar.TypeDir {
			return errors.New("the image's root must be a directory")
		}
		return m.describe(m.tree.root, h)
	}
	parents, name := parts[:len(parts)-1], parts[len(parts)-1]
	for i, part := range parts {
		if strings.HasPrefix(part, metaPrefix) && (i < len(parents) || part != opaqueMarker) {
			return nil
		}
	}
	if strings.HasPrefix(name, whiteoutPrefix) {
		return m.whiteout(parents, name)
	}
	dir, err := m.reach(parents)
	if err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return m.folder(dir, name, h)
	case tar.TypeLink:
		return m.hardlink(dir, name, h.Linkname)
	}
	return m.file(ctx, dir, name, h, r)
}

// folder creates a directory or updates one of a lower layer.
func (m *merger) folder(dir nodeID, name string, h *tar.Header) error {
	e, ok := m.tree.folders[dir].entries[name]
	if !ok || !m.tree.at(e.node).is(typeFolder) {
		m.tree.remove(dir, name)
		e.node = m.tree.addFolder(dir)
	}
	m.tree.folders[dir].entries[strings.Clone(name)] = dirent{e.node, m.layer}
	return m.describe(e.node, h)
}

// describe sets a directory's owner, mode, time and attributes from its entry.
func (m *merger) describe(id nodeID, h *tar.Header) error {
	n, err := m.tree.metadata(h, typeFolder)
	if err != nil {
		return err
	}
	*m.tree.at(id) = n
	return nil
}

// hardlink gives a file one more name. It ignores the header's other fields, which only
// repeat the file's.
func (m *merger) hardlink(dir nodeID, name, target string) error {
	parts, err := splitPath(target)
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", target, err)
	}
	if len(parts) == 0 {
		return fmt.Errorf("hard link to %q: the target is a directory", target)
	}
	last := len(parts) - 1
	from, err := m.find(parts[:last])
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", target, err)
	}
	source, ok := m.tree.folders[from].entries[parts[last]]
	if !ok {
		return fmt.Errorf("hard link to %q: no such file", target)
	}
	n := m.tree.at(source.node)
	switch {
	case n.is(typeFolder):
		return fmt.Errorf("hard link to %q: the target is a directory", target)
	case n.links == maxLinks:
		return fmt.Errorf("hard link to %q: the file already has %d names, the maximum", target, maxLinks)
	}
	// Count the link first: the replaced name may be the file's last one, or a directory
	// that contains it.
	n.links++
	m.tree.remove(dir, name)
	m.tree.set(dir, strings.Clone(name), dirent{source.node, m.layer})
	n.links--
	return nil
}

// file creates anything that is neither a directory nor a hard link.
func (m *merger) file(ctx context.Context, dir nodeID, name string, h *tar.Header, r io.Reader) error {
	fileType, err := typeOf(h.Typeflag)
	if err != nil {
		return err
	}
	n, err := m.tree.metadata(h, fileType)
	if err != nil {
		return err
	}
	var extents []extent
	m.tree.remove(dir, name) // first, so that its blocks can be reused
	switch fileType {
	case typeRegular:
		n.size = h.Size
		extents, err = m.content.store(ctx, r, h.Size)
	case typeSymlink:
		n.size = int64(len(h.Linkname))
		err = checkTarget(h.Linkname)
	case typeChar, typeBlock:
		n.start, err = deviceNumber(h.Devmajor, h.Devminor)
	}
	if err != nil {
		return err
	}
	id := m.tree.add(n)
	m.tree.setExtents(id, extents)
	if fileType == typeSymlink {
		m.tree.symlinks[id] = strings.Clone(h.Linkname)
	}
	m.tree.set(dir, strings.Clone(name), dirent{id, m.layer})
	return nil
}

func typeOf(flag byte) (uint16, error) {
	switch flag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		return typeRegular, nil
	case tar.TypeSymlink:
		return typeSymlink, nil
	case tar.TypeChar:
		return typeChar, nil
	case tar.TypeBlock:
		return typeBlock, nil
	case tar.TypeFifo:
		return typeFifo, nil
	}
	return 0, fmt.Errorf("tar entry of unknown type %q", flag)
}

func checkTarget(target string) error {
	switch {
	case target == "":
		return errors.New("symlink has no target")
	case len(target) > maxTarget:
		return fmt.Errorf("symlink target has %d bytes, more than %d", len(target), maxTarget)
	case strings.IndexByte(target, 0) >= 0:
		return errors.New("symlink target contains a NUL byte")
	}
	return nil
}

// metadata converts a header to a node, without the fields that only some types have.
func (t *tree) metadata(h *tar.Header, fileType uint16) (node, error) {
	for _, id := range []int{h.Uid, h.Gid} {
		if id < 0 || int64(id) >= math.MaxUint32 {
			return node{}, fmt.Errorf("invalid owner %d:%d: user and group must be from 0 to %d", h.Uid, h.Gid, int64(math.MaxUint32-1))
		}
	}
	attrs, err := attrsOf(h.PAXRecords, fileType)
	if err != nil {
		return node{}, err
	}
	mode := uint16(h.Mode & 0o7777)
	if fileType == typeSymlink {
		mode = 0o777
	}
	return node{
		mode: fileType | mode, uid: uint32(h.Uid), gid: uint32(h.Gid),
		mtime: h.ModTime.Unix(), nsec: uint32(h.ModTime.Nanosecond()), attrs: t.internAttrs(attrs),
	}, nil
}
