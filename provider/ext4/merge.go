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
	later   []postponed // entries that wait for the end of the layer
	last    bool        // the layer has been read; nothing waits any longer
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
	return m.finish(l)
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
		n, err := m.tree.metadata(h, typeFolder)
		if err == nil {
			*m.tree.at(m.tree.root) = n
		}
		return err
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
	if err == errLowerLink {
		return m.postpone(ctx, parents, strings.Clone(name), h, r)
	}
	if err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		n, err := m.tree.metadata(h, typeFolder)
		if err == nil {
			m.folder(dir, name, n)
		}
		return err
	case tar.TypeLink:
		id, err := m.source(h.Linkname)
		if err == nil {
			m.link(dir, name, id)
		}
		return err
	}
	return m.file(ctx, dir, name, h, r)
}

// folder creates a directory or updates one of a lower layer. Its entry is n.
func (m *merger) folder(dir nodeID, name string, n node) {
	e, ok := m.tree.folders[dir].entries[name]
	if !ok || !m.tree.at(e.node).is(typeFolder) {
		m.tree.remove(dir, name)
		e.node = m.tree.addFolder(dir)
	}
	m.tree.folders[dir].entries[strings.Clone(name)] = dirent{e.node, m.layer}
	*m.tree.at(e.node) = n
}

// source returns the file that a hard link refers to. The other fields of a hard link's header
// only repeat the file's.
func (m *merger) source(target string) (nodeID, error) {
	fail := func(why error) (nodeID, error) { return 0, fmt.Errorf("hard link to %q: %w", target, why) }
	parts, err := splitPath(target)
	if err != nil {
		return fail(err)
	}
	if len(parts) == 0 {
		return fail(errIsFolder)
	}
	id, err := m.lookUp(parts[:len(parts)-1], parts[len(parts)-1])
	if err != nil {
		return fail(err)
	}
	switch n := m.tree.at(id); {
	case n.is(typeFolder):
		return fail(errIsFolder)
	case n.links == maxLinks:
		return fail(fmt.Errorf("the file already has %d names, the maximum", maxLinks))
	}
	return id, nil
}

var errIsFolder = errors.New("the target is a directory")

// lookUp finds a name that this layer or a lower one has.
func (m *merger) lookUp(parents []string, name string) (nodeID, error) {
	if id, ok := m.awaited(parents, name); ok {
		return id, nil
	}
	dir, err := m.find(parents)
	if err != nil {
		return 0, err
	}
	e, ok := m.tree.folders[dir].entries[name]
	if !ok {
		return 0, errors.New("no such file")
	}
	return e.node, nil
}

// link gives a file one more name, in place of what has the name.
func (m *merger) link(dir nodeID, name string, id nodeID) {
	// Count the link first: the replaced name may be the file's last one, or a directory
	// that contains it.
	n := m.tree.at(id)
	n.links++
	m.tree.remove(dir, name)
	m.tree.set(dir, strings.Clone(name), dirent{id, m.layer})
	n.links--
}

// file creates anything that is neither a directory nor a hard link.
func (m *merger) file(ctx context.Context, dir nodeID, name string, h *tar.Header, r io.Reader) error {
	id, err := m.create(ctx, h, r, func() { m.tree.remove(dir, name) })
	if err == nil {
		m.tree.set(dir, strings.Clone(name), dirent{id, m.layer})
	}
	return err
}

// create adds a file that has no name yet. It calls free as soon as the header is known to be
// valid, so that the blocks of what the file replaces can be reused.
func (m *merger) create(ctx context.Context, h *tar.Header, r io.Reader, free func()) (nodeID, error) {
	fileType, err := typeOf(h.Typeflag)
	if err != nil {
		return 0, err
	}
	n, err := m.tree.metadata(h, fileType)
	if err != nil {
		return 0, err
	}
	var extents []extent
	free()
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
		return 0, err
	}
	id := m.tree.add(n)
	m.tree.setExtents(id, extents)
	if fileType == typeSymlink {
		m.tree.symlinks[id] = strings.Clone(h.Linkname)
	}
	return id, nil
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
