package ext4

import (
	"encoding/binary"
	"strings"
	"testing"
)

// acl returns an ACL in the format of the system calls with one entry per tag. All
// entries are rwx; those whose tag has an id are for 1000.
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

func TestACLsAsText(t *testing.T) {
	head := string([]byte{1, 0, 0, 0})
	entry := func(tag, perm byte, id ...byte) string { return string(append([]byte{tag, 0, perm, 0}, id...)) }
	owners := entry(1, 7) + entry(2, 5, 0xf6, 1, 0, 0) + entry(4, 5)
	tests := map[string]struct{ text, want string }{
		"with numbers, as star and bsdtar write it": {
			"user::rwx,user:lisa:r-x:502,group::r-x,group:toolies:rwx:3000000000,mask::rwx,other::r--",
			head + owners + entry(8, 7, 0, 0x5e, 0xd0, 0xb2) + entry(16, 7) + entry(32, 4),
		},
		"one per line, in another order, abbreviated, with a comment": {
			"o::r--\nm::rwx\ng::r-x # effective\n\nu:502:r-x\nu::rwx\n",
			head + owners + entry(16, 7) + entry(32, 4),
		},
		"with two fields":         {"user::rw-,group::r--,other:---", head + entry(1, 6) + entry(4, 4) + entry(32, 0)},
		"ignored, names only":     {"user::rwx,user:lisa:r-x,group::r-x,mask::rwx,other::r--", ""},
		"ignored, as it is empty": {"", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got, err := newTextACL(tt.text); err != nil || got != tt.want {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestInvalidACLsAreRejected(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"one field":               {"user", "1 fields"},
		"five fields":             {"user:a:rwx:1:2", "5 fields"},
		"unknown kind":            {"everyone::rwx", "unknown kind"},
		"mask with an id":         {"mask:1:rwx", "unknown kind"},
		"unknown permissions":     {"user::rwz", "permissions must consist of r, w, x"},
		"id that is not a number": {"user:a:rwx:b", "invalid syntax"},
		"nothing for others":      {"user::rwx,group::rwx", "exactly one entry"},
		"two owners":              {"user::rwx,user::rwx,group::rwx,other::rwx", "exactly one entry"},
		"no mask":                 {"user::rwx,user:1:rwx,group::rwx,other::rwx", "and a mask if"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got, err := newTextACL(tt.text); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

// TestACLsDependOnTheFileType also checks which format wins when both are present.
func TestACLsDependOnTheFileType(t *testing.T) {
	const text = "user::r--,group::r--,other::r--"
	fromText, exact := "\x01\x00\x00\x00\x01\x00\x04\x00\x04\x00\x04\x00\x20\x00\x04\x00", acl(aclUserObj, aclGroupObj, aclOther)
	fromExact := strings.ReplaceAll(fromText, "\x00\x04\x00", "\x00\x07\x00")
	tests := map[string]struct {
		records  map[string]string
		fileType uint16
		want     []attr
	}{
		"a file has no default ACL":    {map[string]string{paxACLAccess: text, paxACLDefault: text}, typeRegular, []attr{{attrACLAccess, "", fromText}}},
		"a directory has both":         {map[string]string{paxACLAccess: text, paxACLDefault: text}, typeFolder, []attr{{attrACLAccess, "", fromText}, {attrACLDefault, "", fromText}}},
		"a symlink has none":           {map[string]string{paxACLAccess: text}, typeSymlink, nil},
		"the attribute wins over text": {map[string]string{paxACLAccess: text, paxAttr + nameACLAccess: exact}, typeRegular, []attr{{attrACLAccess, "", fromExact}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := attrsOf(tt.records, tt.fileType)
			if err != nil || len(got) != len(tt.want) {
				t.Fatalf("got %q, %v; want %q", got, err, tt.want)
			}
			for i := range got {
				if got[i] != tt.want[i] {
					t.Errorf("got %q, want %q", got[i], tt.want[i])
				}
			}
		})
	}
}
