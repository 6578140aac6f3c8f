package kernel

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/stead-vm/stead/provider/regular"
)

// Offsets of the fields that locate the compressed vmlinux in a bzImage, from
// Documentation/x86/boot.rst.
const (
	x86SetupSectors  = 0x1f1
	x86PayloadOffset = 0x248 // from the end of the setup sectors
	x86PayloadLength = 0x24c
	x86PayloadHeader = 0x250
)

// maxVmlinux limits how much a damaged image can make us unpack, in bytes.
const maxVmlinux = 1 << 30

// keepUnpacked is the number of unpacked kernels in a cache.
const keepUnpacked = 4

// errNotPacked reports an image without a vmlinux that can be started directly.
var errNotPacked = errors.New("no vmlinux inside that can be started directly")

// Unpack unpacks the vmlinux inside the bzImage at path into the directory dir, once, and
// returns its path. A virtual machine that starts the vmlinux directly, through the kernel's
// PVH entry, does not unpack it at every boot, which is slow on an emulated processor.
//
// Unpack is an optimisation: it returns path itself for an image that is not a bzImage, has
// an unsupported compression (xz with its x86 filter) or lacks a PVH entry. An error means
// that dir cannot be used.
//
// The drawback is that the kernel does not randomise its addresses, which it does while it
// unpacks itself.
func Unpack(path, dir string) (string, error) {
	digest, err := Kernel{Path: path}.Digest()
	if err != nil {
		return "", err
	}
	cached := filepath.Join(dir, "vmlinux-"+digest)
	now := time.Now()
	if os.Chtimes(cached, now, now) == nil {
		return cached, nil
	}
	image, err := regular.ReadFile(path, maxImage)
	if err != nil {
		return "", fmt.Errorf("unpack kernel: %w", err)
	}
	vmlinux, err := extract(image)
	if err != nil || !hasPVHEntry(vmlinux) {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("unpack kernel: %w", err)
	}
	if err := prune(dir, keepUnpacked-1); err != nil {
		return "", fmt.Errorf("unpack kernel: %w", err)
	}
	if err := renameio.WriteFile(cached, vmlinux, 0o600); err != nil {
		return "", fmt.Errorf("unpack kernel: %w", err)
	}
	return cached, nil
}

// prune removes all but the most recently used kernels of a cache.
func prune(dir string, keep int) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var old []os.FileInfo
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && strings.HasPrefix(e.Name(), "vmlinux-") {
			old = append(old, info)
		}
	}
	slices.SortFunc(old, func(a, b os.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	for _, info := range old[min(keep, len(old)):] {
		if err := os.Remove(filepath.Join(dir, info.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// extract returns the vmlinux of a bzImage.
func extract(image []byte) ([]byte, error) {
	if len(image) < x86PayloadHeader || !isBzImage(image[:x86HeaderEnd]) {
		return nil, errNotPacked
	}
	sectors := int(image[x86SetupSectors])
	if sectors == 0 {
		sectors = 4 // the value of images older than the field
	}
	begin := uint64(sectors+1)*512 + uint64(binary.LittleEndian.Uint32(image[x86PayloadOffset:]))
	end := begin + uint64(binary.LittleEndian.Uint32(image[x86PayloadLength:]))
	if end > uint64(len(image)) || end-begin < 8 {
		return nil, errNotPacked
	}
	return decompress(image[begin:end])
}

// decompress unpacks a payload. Its last four bytes are the unpacked size, from gzip itself
// or appended by the kernel's build.
func decompress(payload []byte) ([]byte, error) {
	body, tail := payload[:len(payload)-4], payload[len(payload)-4:]
	size := binary.LittleEndian.Uint32(tail)
	if size > maxVmlinux {
		return nil, errNotPacked
	}
	var r io.Reader
	switch {
	case bytes.HasPrefix(payload, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(bytes.NewReader(payload))
		if err != nil {
			return nil, err
		}
		r = z
	case bytes.HasPrefix(payload, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		// The build allows zstd's largest window.
		z, err := zstd.NewReader(bytes.NewReader(body), zstd.WithDecoderMaxWindow(1<<31))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		r = z
	case bytes.HasPrefix(payload, []byte{0x02, 0x21, 0x4c, 0x18}):
		r = lz4.NewReader(bytes.NewReader(body))
	default:
		return nil, errNotPacked
	}
	var out bytes.Buffer
	if _, err := io.Copy(&out, io.LimitReader(r, int64(size)+1)); err != nil {
		return nil, err
	}
	if out.Len() != int(size) {
		return nil, errNotPacked
	}
	return out.Bytes(), nil
}

// xenPhys32Entry is the type of the ELF note with the entry point of a PVH start:
// XEN_ELFNOTE_PHYS32_ENTRY of the kernel's xen/interface/elfnote.h.
const xenPhys32Entry = 18

func hasPVHEntry(vmlinux []byte) bool {
	f, err := elf.NewFile(bytes.NewReader(vmlinux))
	if err != nil {
		return false
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_NOTE {
			continue
		}
		notes, err := io.ReadAll(io.LimitReader(p.Open(), 1<<20))
		if err == nil && hasNote(notes, "Xen\x00", xenPhys32Entry) {
			return true
		}
	}
	return false
}

// hasNote reports whether notes has a note of this owner and kind. An ELF note is: name
// size, description size, type, then name and description, each padded to four bytes.
func hasNote(notes []byte, owner string, kind uint32) bool {
	for len(notes) >= 12 {
		name := uint64(binary.LittleEndian.Uint32(notes))
		desc := uint64(binary.LittleEndian.Uint32(notes[4:]))
		found := binary.LittleEndian.Uint32(notes[8:]) == kind
		notes = notes[12:]
		if name > uint64(len(notes)) {
			return false
		}
		if found && string(notes[:name]) == owner {
			return true
		}
		next := (name+3)&^3 + (desc+3)&^3
		if next > uint64(len(notes)) {
			return false
		}
		notes = notes[next:]
	}
	return false
}
