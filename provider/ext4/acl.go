package ext4

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// POSIX ACLs. Version 2 is the format of the system calls and so of layers
// (uapi/linux/posix_acl_xattr.h). Version 1 is ext4's own (fs/ext4/acl.h), which
// omits the id of entries that have none.
const (
	aclVersion     = 2
	aclDiskVersion = 1

	aclUserObj  = 0x01
	aclUser     = 0x02
	aclGroupObj = 0x04
	aclGroup    = 0x08
	aclMask     = 0x10
	aclOther    = 0x20
)

type aclEntry struct {
	tag, perm uint16
	id        uint32 // of aclUser and aclGroup
}

// newACL converts an ACL from the format of the system calls.
func newACL(value string) (string, error) {
	b, le := []byte(value), binary.LittleEndian
	if len(b) < 4 || le.Uint32(b) != aclVersion || (len(b)-4)%8 != 0 {
		return "", errors.New("not a POSIX ACL of version 2")
	}
	var entries []aclEntry
	for b = b[4:]; len(b) > 0; b = b[8:] {
		entries = append(entries, aclEntry{le.Uint16(b), le.Uint16(b[2:]), le.Uint32(b[4:])})
	}
	return diskACL(entries)
}

// newTextACL converts an ACL from the text format of acl(5), which star, bsdtar and GNU
// tar write. The first two append the numeric ids of users and groups. An ACL that gives
// only names means nothing outside the system it was made on, so it is ignored, as other
// tools do when they unpack it elsewhere.
func newTextACL(text string) (string, error) {
	var entries []aclEntry
	for line := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' || r == '\n' }) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		e, named, err := textEntry(strings.Split(line, ":"))
		if err != nil {
			return "", fmt.Errorf("invalid POSIX ACL entry %q: %w", line, err)
		}
		if named {
			return "", nil
		}
		entries = append(entries, e)
	}
	return diskACL(entries)
}

// textEntry parses one entry. named reports whether it has a name in place of a number.
func textEntry(fields []string) (e aclEntry, named bool, err error) {
	if len(fields) == 2 { // "other:r--"
		fields = slices.Insert(fields, 1, "")
	}
	if len(fields) < 3 || len(fields) > 4 {
		return e, false, fmt.Errorf("has %d fields, expected 2 to 4", len(fields))
	}
	tags := map[string][2]uint16{
		"user": {aclUserObj, aclUser}, "group": {aclGroupObj, aclGroup}, "mask": {aclMask}, "other": {aclOther},
	}
	for kind, tag := range tags {
		if fields[0] == kind || fields[0] == kind[:1] {
			e.tag = tag[min(len(fields[1]), 1)]
		}
	}
	if e.tag == 0 {
		return e, false, errors.New("unknown kind")
	}
	for _, c := range fields[2] {
		bit, ok := map[rune]uint16{'r': 4, 'w': 2, 'x': 1, '-': 0}[c]
		if !ok {
			return e, false, errors.New("permissions must consist of r, w, x and -")
		}
		e.perm |= bit
	}
	switch {
	case fields[1] == "":
		return e, false, nil
	case len(fields) == 3:
		e.id, err = number(fields[1])
		return e, err != nil, nil
	}
	e.id, err = number(fields[3])
	return e, false, err
}

func number(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err
}

// diskACL encodes an ACL in ext4's format. An ACL without entries becomes the empty string.
// It rejects what the kernel would not accept from a program: the kernel would not
// understand it on a disk either.
func diskACL(entries []aclEntry) (string, error) {
	if len(entries) == 0 {
		return "", nil
	}
	slices.SortStableFunc(entries, func(a, b aclEntry) int { return cmp.Or(cmp.Compare(a.tag, b.tag), cmp.Compare(a.id, b.id)) })
	count := map[uint16]int{}
	le := binary.LittleEndian
	out := le.AppendUint32(nil, aclDiskVersion)
	for _, e := range entries {
		out = le.AppendUint16(le.AppendUint16(out, e.tag), e.perm)
		switch e.tag {
		case aclUser, aclGroup:
			out = le.AppendUint32(out, e.id)
		case aclUserObj, aclGroupObj, aclMask, aclOther:
		default:
			return "", fmt.Errorf("POSIX ACL entry of unknown kind %#x", e.tag)
		}
		if e.perm > 7 {
			return "", fmt.Errorf("POSIX ACL entry with invalid permissions %#x", e.perm)
		}
		count[e.tag]++
	}
	masks := min(1, count[aclUser]+count[aclGroup])
	if count[aclUserObj] != 1 || count[aclGroupObj] != 1 || count[aclOther] != 1 || count[aclMask] < masks || count[aclMask] > 1 {
		return "", errors.New("a POSIX ACL needs exactly one entry each for owner, group and others, and a mask if it names further users or groups")
	}
	return string(out), nil
}
