package ext4

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// POSIX ACLs: version 2 is the form of the system calls and so of layers
// (uapi/linux/posix_acl_xattr.h), version 1 is ext4's own (fs/ext4/acl.h), which
// leaves out the id where an entry has none.
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

// diskACL translates an ACL; one without entries is none.
func diskACL(value string) (string, error) {
	b, le := []byte(value), binary.LittleEndian
	if len(b) < 4 || le.Uint32(b) != aclVersion || (len(b)-4)%8 != 0 {
		return "", errors.New("this is no POSIX ACL of version 2")
	}
	out := le.AppendUint32(nil, aclDiskVersion)
	if len(b) == 4 {
		return "", nil
	}
	for b = b[4:]; len(b) > 0; b = b[8:] {
		out = append(out, b[:4]...)
		switch tag := le.Uint16(b); tag {
		case aclUser, aclGroup:
			out = append(out, b[4:8]...)
		case aclUserObj, aclGroupObj, aclMask, aclOther:
		default:
			return "", fmt.Errorf("a POSIX ACL has no entries of kind %#x", tag)
		}
	}
	return string(out), nil
}
