package ext4

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// Extended attributes, from fs/ext4/xattr.h.
const (
	attrMagic      = 0xea020000
	attrEntrySize  = 16
	attrHeadBlock  = 32
	attrRoomBlock  = blockSize - attrHeadBlock
	attrMaxNameLen = 255

	attrUser       = 1
	attrACLAccess  = 2
	attrACLDefault = 3
	attrTrusted    = 4
	attrSecurity   = 6
)

// paxAttr is the prefix of extended attributes in tar headers. ACLs may have records of
// their own, as text. If both exist, the attribute wins: it is exact.
const (
	paxAttr       = "SCHILY.xattr."
	paxACLAccess  = "SCHILY.acl.access"
	paxACLDefault = "SCHILY.acl.default"

	nameACLAccess  = "system.posix_acl_access"
	nameACLDefault = "system.posix_acl_default"
)

// attr is an extended attribute as ext4 stores it: the namespace is a number.
type attr struct {
	index byte
	name  string
	value string
}

// attrsOf returns the attributes of a header in ext4's order. Like unpacking onto a
// file system, it omits attributes that Linux would not accept for the type of file and
// those in namespaces of other systems.
func attrsOf(records map[string]string, fileType uint16) ([]attr, error) {
	var attrs []attr
	for key, value := range records {
		full, ok := strings.CutPrefix(key, paxAttr)
		text := textACLs[key]
		if _, both := records[paxAttr+text]; text != "" && !both {
			full, ok = text, true
		}
		if !ok {
			continue
		}
		a, ok, err := newAttr(full, value, fileType, text != "")
		if err != nil {
			return nil, fmt.Errorf("extended attribute %q: %w", full, err)
		}
		if ok {
			attrs = append(attrs, a)
		}
	}
	slices.SortFunc(attrs, func(a, b attr) int {
		return cmp.Or(cmp.Compare(a.index, b.index), cmp.Compare(len(a.name), len(b.name)), cmp.Compare(a.name, b.name))
	})
	_, block := splitAttrs(attrs)
	if size := attrsSize(block); size > attrRoomBlock {
		largest := slices.MaxFunc(block, func(a, b attr) int { return cmp.Compare(a.size(), b.size()) })
		return nil, fmt.Errorf("extended attributes are too large: %d bytes do not fit into the inode, and the extra block "+
			"holds %d (the largest attribute, %q, has %d)", size, attrRoomBlock, largest.fullName(), len(largest.value))
	}
	return attrs, nil
}

// textACLs maps records with text ACLs to the corresponding attributes.
var textACLs = map[string]string{paxACLAccess: nameACLAccess, paxACLDefault: nameACLDefault}

func newAttr(full, value string, fileType uint16, text bool) (a attr, ok bool, err error) {
	a.value = strings.Clone(value)
	space, name, _ := strings.Cut(full, ".")
	switch {
	case full == nameACLAccess && fileType != typeSymlink:
		a.index = attrACLAccess
	case full == nameACLDefault && fileType == typeFolder:
		a.index = attrACLDefault
	case space == "user" && (fileType == typeRegular || fileType == typeFolder):
		a.index = attrUser
	case space == "trusted":
		a.index = attrTrusted
	case space == "security":
		a.index = attrSecurity
	default:
		return attr{}, false, nil
	}
	if a.index == attrACLAccess || a.index == attrACLDefault {
		translate := newACL
		if text {
			translate = newTextACL
		}
		a.value, err = translate(value)
		return a, a.value != "", err
	}
	if name == "" || len(name) > attrMaxNameLen || strings.IndexByte(name, 0) >= 0 {
		return attr{}, false, fmt.Errorf("the name must have 1 to %d bytes and no NUL", attrMaxNameLen)
	}
	a.name = strings.Clone(name)
	return a, true, nil
}

// fullName returns the attribute's name including its namespace.
func (a attr) fullName() string {
	switch a.index {
	case attrACLAccess:
		return nameACLAccess
	case attrACLDefault:
		return nameACLDefault
	case attrTrusted:
		return "trusted." + a.name
	case attrSecurity:
		return "security." + a.name
	}
	return "user." + a.name
}

// size returns the number of bytes that the attribute takes in an attribute list.
func (a attr) size() int { return attrEntrySize + align4(len(a.name)) + align4(len(a.value)) }

func align4(n int) int { return (n + 3) &^ 3 }

// attrsSize includes the four zero bytes that end a list.
func attrsSize(attrs []attr) int {
	size := 4
	for _, a := range attrs {
		size += a.size()
	}
	return size
}

// splitAttrs splits attributes between the inode and a block of their own. As many as
// fit go into the inode, where reading them needs no further I/O.
func splitAttrs(attrs []attr) (inode, block []attr) {
	room := inodeSize - inodeAttrs - 4 // the magic number
	for _, a := range attrs {
		if attrsSize(inode)+a.size() <= room {
			inode = append(inode, a)
		} else {
			block = append(block, a)
		}
	}
	return inode, block
}

// internAttrs returns the index of a set in attrSets: many files share few sets.
func (t *tree) internAttrs(attrs []attr) uint32 {
	var key strings.Builder
	for _, a := range attrs {
		fmt.Fprintf(&key, "%d %d %d %s%s", a.index, len(a.name), len(a.value), a.name, a.value)
	}
	id, ok := t.attrIDs[key.String()]
	if !ok {
		id = uint32(len(t.attrSets))
		t.attrSets = append(t.attrSets, attrs)
		t.attrIDs[key.String()] = id
	}
	return id
}

// putAttrs fills room: entries grow from its front, values from its back. Value offsets
// count from base bytes before room. It returns the hash of the list.
func putAttrs(room []byte, base int, attrs []attr) (hash uint32) {
	at, end := 0, len(room)
	for _, a := range attrs {
		end -= align4(len(a.value))
		copy(room[end:], a.value)
		e := room[at:]
		e[0], e[1] = byte(len(a.name)), a.index
		if a.value != "" {
			binary.LittleEndian.PutUint16(e[2:], uint16(base+end))
		}
		binary.LittleEndian.PutUint32(e[8:], uint32(len(a.value)))
		h := a.hash()
		binary.LittleEndian.PutUint32(e[12:], h)
		copy(e[attrEntrySize:], a.name)
		at += attrEntrySize + align4(len(a.name))
		hash = hash<<16 ^ hash>>16 ^ h
	}
	return hash
}

// hash is ext4_xattr_hash_entry.
func (a attr) hash() (h uint32) {
	for _, c := range []byte(a.name) {
		h = h<<5 ^ h>>27 ^ uint32(c)
	}
	value := make([]byte, align4(len(a.value)))
	copy(value, a.value)
	for ; len(value) > 0; value = value[4:] {
		h = h<<16 ^ h>>16 ^ binary.LittleEndian.Uint32(value)
	}
	return h
}

// attrBlock writes a block of attributes and returns its number.
func (w *writer) attrBlock(attrs []attr) uint64 {
	b := make([]byte, blockSize)
	le := binary.LittleEndian
	le.PutUint32(b[0:], attrMagic)
	le.PutUint32(b[4:], 1) // references
	le.PutUint32(b[8:], 1) // blocks
	le.PutUint32(b[12:], putAttrs(b[attrHeadBlock:], attrHeadBlock, attrs))
	at := w.space.take(1).start
	le.PutUint32(b[16:], checksum(checksum(w.seed, le.AppendUint64(nil, at)), b))
	w.out.write(int64(at)*blockSize, b)
	return at
}
