package kernel

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
)

// errNotKernel reports a file in none of the forms that parseHeader knows.
var errNotKernel = errors.New("not a kernel")

// header is the information in an image's header.
type header struct {
	release string
	arch    string
}

// Offsets in an x86 boot sector, from the kernel's Documentation/x86/boot.rst.
const (
	x86BootFlag      = 0x1fe // 0xaa55
	x86Magic         = 0x202 // "HdrS"
	x86Version       = 0x20e // offset of the version text, minus 0x200
	x86XLoadFlags    = 0x236 // bit 0: has a 64-bit entry point
	x86HeaderEnd     = 0x238
	x86VersionLength = 256 // longer than any version text
)

// arm64Magic is at offset 0x38 of an Image, see Documentation/arm64/booting.rst.
const (
	arm64Magic       = "ARM\x64"
	arm64MagicOffset = 0x38
)

// parseHeader detects the form of an image and reads its release and architecture.
func parseHeader(r *io.SectionReader) (header, error) {
	head := make([]byte, x86HeaderEnd)
	n, err := r.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return header{}, err
	}
	head = head[:n]
	form, ok := formOf(head)
	if !ok {
		return header{}, errNotKernel
	}
	switch form {
	case BzImage:
		return parseBzImage(r, head)
	case Image:
		release, err := scanRelease(r)
		return header{release, "arm64"}, err
	case GzippedImage:
		return parseGzip(r)
	default: // Vmlinux
		return parseELF(r)
	}
}

func isBzImage(head []byte) bool {
	return len(head) == x86HeaderEnd &&
		binary.LittleEndian.Uint16(head[x86BootFlag:]) == 0xaa55 &&
		string(head[x86Magic:x86Magic+4]) == "HdrS"
}

func isArm64Image(head []byte) bool {
	return len(head) >= arm64MagicOffset+len(arm64Magic) &&
		string(head[arm64MagicOffset:arm64MagicOffset+len(arm64Magic)]) == arm64Magic
}

func parseBzImage(r io.ReaderAt, head []byte) (header, error) {
	h := header{arch: "386"}
	if head[x86XLoadFlags]&1 != 0 {
		h.arch = "amd64"
	}
	at := binary.LittleEndian.Uint16(head[x86Version:])
	if at == 0 {
		return h, nil
	}
	text := make([]byte, x86VersionLength)
	n, err := r.ReadAt(text, int64(at)+0x200)
	if err != nil && err != io.EOF {
		return header{}, err
	}
	h.release = firstWord(text[:n])
	return h, nil
}

func parseELF(r *io.SectionReader) (header, error) {
	f, err := elf.NewFile(r)
	if err != nil || f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN {
		return header{}, errNotKernel
	}
	var h header
	switch f.Machine { // architectures that a driver may run
	case elf.EM_X86_64:
		h.arch = "amd64"
	case elf.EM_AARCH64:
		h.arch = "arm64"
	default:
		return header{}, errNotKernel
	}
	if h.release, err = scanRelease(r); err != nil {
		return header{}, err
	}
	if h.release == "" {
		return header{}, errNotKernel // an ordinary program
	}
	return h, nil
}

func parseGzip(r *io.SectionReader) (header, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return header{}, errNotKernel
	}
	head := make([]byte, x86HeaderEnd)
	n, err := io.ReadFull(z, head)
	if err != nil || !isArm64Image(head[:n]) {
		return header{}, errNotKernel
	}
	release, err := scanRelease(io.MultiReader(bytes.NewReader(head), z))
	if err != nil {
		return header{}, errNotKernel
	}
	return header{release, "arm64"}, nil
}

// scanRelease finds the release in the banner that every kernel prints first ("Linux
// version 6.1.0 (…"). It returns "" if there is none.
func scanRelease(r io.Reader) (string, error) {
	banner := []byte("Linux version ")
	const keep = 128 // longer than banner and release
	buf := make([]byte, 1<<20)
	held := 0
	for {
		n, err := io.ReadFull(r, buf[held:])
		text := buf[:held+n]
		last := err == io.EOF || err == io.ErrUnexpectedEOF
		if err != nil && !last {
			return "", err
		}
		end := len(text) - keep
		if last {
			end = len(text)
		}
		for at := 0; ; at += len(banner) {
			i := bytes.Index(text[at:], banner)
			if i < 0 || at+i > end {
				break
			}
			at += i
			if w := firstWord(text[at+len(banner):]); releaseName.MatchString(w) {
				return w, nil
			}
		}
		if last {
			return "", nil
		}
		held = copy(buf, text[end:])
	}
}

// firstWord returns text up to its first blank or NUL.
func firstWord(text []byte) string {
	if i := bytes.IndexAny(text, " \x00\n"); i >= 0 {
		text = text[:i]
	}
	return string(text)
}
