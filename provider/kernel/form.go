package kernel

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
)

// Form is how a kernel is packed. Boot loaders differ in which they take.
type Form uint8

// Forms of a kernel.
const (
	BzImage      Form = iota // x86: unpacks itself
	Image                    // arm64: uncompressed
	GzippedImage             // arm64: as distributions install it
	Vmlinux                  // ELF, as linked
	numForms
)

func (f Form) String() string {
	if f < numForms {
		return [...]string{"a bzImage", "an uncompressed Image", "a gzipped Image", "an ELF vmlinux"}[f]
	}
	return fmt.Sprintf("Form(%d)", uint8(f))
}

// FormOf looks at the beginning of the kernel at path. What begins like none is a
// [NotKernelError]; a whole look is [Open]'s.
func FormOf(path string) (Form, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	head := make([]byte, x86HeaderEnd)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, err
	}
	form, ok := formOf(head[:n])
	if !ok {
		return 0, &NotKernelError{Path: path}
	}
	return form, nil
}

// formOf tells the form of an image by its first bytes, of which x86HeaderEnd are enough.
func formOf(head []byte) (form Form, ok bool) {
	switch {
	case isBzImage(head):
		return BzImage, true
	case isArm64Image(head):
		return Image, true
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return GzippedImage, true
	case bytes.HasPrefix(head, []byte(elf.ELFMAG)):
		return Vmlinux, true
	}
	return 0, false
}
