package kernel

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// bzImage returns an x86 image with the given release and compressed payload.
func bzImage(release string, payload []byte) []byte {
	const sectors = 4
	image := make([]byte, (sectors+1)*512)
	image[x86SetupSectors] = sectors
	binary.LittleEndian.PutUint16(image[x86BootFlag:], 0xaa55)
	copy(image[x86Magic:], "HdrS")
	binary.LittleEndian.PutUint16(image[x86Version:], 0x400-0x200)
	copy(image[0x400:], release+" (builder@example) #1 SMP\x00")
	image[x86XLoadFlags] = 1
	binary.LittleEndian.PutUint32(image[x86PayloadLength:], uint32(len(payload)))
	return append(image, payload...)
}

// arm64Image returns an arm64 image with the given release.
func arm64Image(release string) []byte {
	image := make([]byte, 4096)
	copy(image[arm64MagicOffset:], arm64Magic)
	return append(image, "Linux version "+release+" (builder@example)\x00"...)
}

// vmlinux returns an ELF executable for x86 with the given text and ELF notes.
func vmlinux(text string, notes []byte) []byte {
	const headers = 64 + 56
	b := make([]byte, headers)
	copy(b, "\x7fELF\x02\x01\x01")
	le := binary.LittleEndian
	le.PutUint16(b[16:], 2)  // ET_EXEC
	le.PutUint16(b[18:], 62) // EM_X86_64
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[32:], 64) // program headers
	le.PutUint16(b[52:], 64)
	le.PutUint16(b[54:], 56)
	le.PutUint16(b[56:], 1)
	le.PutUint16(b[58:], 64)
	le.PutUint32(b[64:], 4) // PT_NOTE
	le.PutUint64(b[64+8:], headers)
	le.PutUint64(b[64+32:], uint64(len(notes)))
	b = append(b, notes...)
	return append(b, text...)
}

// note returns one ELF note.
func note(owner string, kind uint32, desc string) []byte {
	var b []byte
	le := binary.LittleEndian
	b = le.AppendUint32(b, uint32(len(owner)))
	b = le.AppendUint32(b, uint32(len(desc)))
	b = le.AppendUint32(b, kind)
	for _, s := range []string{owner, desc} {
		b = append(b, s...)
		b = append(b, make([]byte, -len(s)&3)...)
	}
	return b
}

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// write creates files in a new directory and returns the directory.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// complete is a modules.dep with all modules that a machine needs.
var complete = strings.Join([]string{
	"kernel/virtio_ring.ko:",
	"kernel/virtio.ko: kernel/virtio_ring.ko",
	"kernel/virtio_pci.ko: kernel/virtio.ko kernel/virtio_ring.ko",
	"kernel/virtio_blk.ko: kernel/virtio.ko kernel/virtio_ring.ko",
	"kernel/virtio_console.ko: kernel/virtio.ko kernel/virtio_ring.ko",
	"kernel/virtio_net.ko: kernel/failover.ko kernel/virtio.ko kernel/virtio_ring.ko",
	"kernel/failover.ko:",
	"kernel/fuse.ko:",
	"kernel/virtiofs.ko: kernel/virtio.ko kernel/virtio_ring.ko kernel/fuse.ko",
	"kernel/ext4.ko: kernel/jbd2.ko",
	"kernel/jbd2.ko:",
}, "\n") + "\n"
