package kernel

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
)

// Form is the format of a kernel image. Boot loaders differ in the forms that they accept.
type Form uint8

// Forms of a kernel.
const (
	BzImage      Form = iota // x86: unpacks itself
	Image                    // arm64: uncompressed
	GzippedImage             // arm64: installed by distributions
	Vmlinux                  // ELF, as the linker writes it
	numForms
)

func (f Form) String() string {
	if f < numForms {
		return [...]string{"a bzImage", "an uncompressed Image", "a gzipped Image", "an ELF vmlinux"}[f]
	}
	return fmt.Sprintf("Form(%d)", uint8(f))
}

// FormOf returns the form of the kernel at path, or a [NotKernelError]. It only reads the
// beginning of the file; [Open] reads more.
func FormOf(path string) (Form, error) {
	f, err := openFile(path)
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

// formOf returns the form of an image from its first x86HeaderEnd bytes.
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
