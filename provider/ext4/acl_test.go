package ext4

import "encoding/binary"

// acl makes an ACL in the form of the system calls, with one entry per tag, all of
// them rwx and, where a tag has an id, for 1000.
func acl(tags ...uint16) string {
	b := binary.LittleEndian.AppendUint32(nil, aclVersion)
	for _, tag := range tags {
		id := uint32(0xffffffff)
		if tag == aclUser || tag == aclGroup {
			id = 1000
		}
		b = binary.LittleEndian.AppendUint16(b, tag)
		b = binary.LittleEndian.AppendUint16(b, 7)
		b = binary.LittleEndian.AppendUint32(b, id)
	}
	return string(b)
}
