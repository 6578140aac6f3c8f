//go:build linux

package sshd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/creack/pty"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// terminal is the pseudo-terminal of a session.
type terminal struct {
	name     string // value of TERM
	pty, tty *os.File
}

// openTerminal answers a "pty-req" (RFC 4254 §6.2).
func openTerminal(payload []byte) (*terminal, error) {
	var p struct {
		Term                         string
		Cols, Rows, WidthPx, HeightX uint32
		Modes                        string
	}
	if err := ssh.Unmarshal(payload, &p); err != nil {
		return nil, err
	}
	if strings.ContainsRune(p.Term, 0) {
		return nil, fmt.Errorf("terminal name %q contains a NUL byte", p.Term)
	}
	master, tty, err := pty.Open()
	if err != nil {
		return nil, err
	}
	t := &terminal{name: p.Term, pty: master, tty: tty}
	_ = t.setSize(p.Cols, p.Rows, p.WidthPx, p.HeightX)
	if err := t.setModes([]byte(p.Modes)); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *terminal) resize(payload []byte) bool {
	var p struct{ Cols, Rows, WidthPx, HeightPx uint32 }
	return ssh.Unmarshal(payload, &p) == nil && t.setSize(p.Cols, p.Rows, p.WidthPx, p.HeightPx) == nil
}

func (t *terminal) setSize(cols, rows, width, height uint32) error {
	conn, err := t.pty.SyscallConn() // protects against a concurrent close: the command may end at any time
	if err != nil {
		return err
	}
	size := &unix.Winsize{Col: uint16(cols), Row: uint16(rows), Xpixel: uint16(width), Ypixel: uint16(height)}
	var set error
	err = conn.Control(func(fd uintptr) { set = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, size) })
	return errors.Join(err, set)
}

func (t *terminal) close() {
	t.tty.Close()
	t.pty.Close()
}

// Opcodes of terminal modes (RFC 4254 §8, RFC 8160 for IUTF8). Line speed and character size
// have no effect on a pseudo-terminal.
var (
	modeChars = map[byte]int{
		1: unix.VINTR, 2: unix.VQUIT, 3: unix.VERASE, 4: unix.VKILL, 5: unix.VEOF, 6: unix.VEOL, 7: unix.VEOL2,
		8: unix.VSTART, 9: unix.VSTOP, 10: unix.VSUSP, 12: unix.VREPRINT, 13: unix.VWERASE, 14: unix.VLNEXT, 18: unix.VDISCARD,
	}
	modeInput = map[byte]uint32{
		30: unix.IGNPAR, 31: unix.PARMRK, 32: unix.INPCK, 33: unix.ISTRIP, 34: unix.INLCR, 35: unix.IGNCR, 36: unix.ICRNL,
		37: unix.IUCLC, 38: unix.IXON, 39: unix.IXANY, 40: unix.IXOFF, 41: unix.IMAXBEL, 42: unix.IUTF8,
	}
	modeLocal = map[byte]uint32{
		50: unix.ISIG, 51: unix.ICANON, 52: unix.XCASE, 53: unix.ECHO, 54: unix.ECHOE, 55: unix.ECHOK, 56: unix.ECHONL,
		57: unix.NOFLSH, 58: unix.TOSTOP, 59: unix.IEXTEN, 60: unix.ECHOCTL, 61: unix.ECHOKE, 62: unix.PENDIN,
	}
	modeOutput = map[byte]uint32{
		70: unix.OPOST, 71: unix.OLCUC, 72: unix.ONLCR, 73: unix.OCRNL, 74: unix.ONOCR, 75: unix.ONLRET,
	}
)

// setModes applies the modes of the client's terminal: pairs of an opcode and a 32-bit
// value, up to opcode 0 or an opcode from 160, whose value has no defined form.
func (t *terminal) setModes(modes []byte) error {
	tio, err := unix.IoctlGetTermios(int(t.tty.Fd()), unix.TCGETS)
	if err != nil {
		return fmt.Errorf("read the terminal's modes: %w", err)
	}
	applyModes(tio, modes)
	if err := unix.IoctlSetTermios(int(t.tty.Fd()), unix.TCSETS, tio); err != nil {
		return fmt.Errorf("set the terminal's modes: %w", err)
	}
	return nil
}

func applyModes(tio *unix.Termios, modes []byte) {
	for len(modes) >= 5 && modes[0] != 0 && modes[0] < 160 {
		op, value := modes[0], binary.BigEndian.Uint32(modes[1:5])
		modes = modes[5:]
		if at, ok := modeChars[op]; ok {
			if value == 255 { // "no character"
				value = 0
			}
			tio.Cc[at] = uint8(value)
		}
		setFlag(&tio.Iflag, modeInput[op], value)
		setFlag(&tio.Lflag, modeLocal[op], value)
		setFlag(&tio.Oflag, modeOutput[op], value)
	}
}

func setFlag(field *uint32, flag, value uint32) {
	if value != 0 {
		*field |= flag
	} else {
		*field &^= flag
	}
}

// foregroundOf returns the foreground process group of a process's terminal (tpgid in
// proc(5)), or 0. Asking the terminal itself would need its file, which may be closed.
func foregroundOf(pid int) int {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The command's name is in parentheses and may contain some itself.
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(f) < 6 {
		return 0
	}
	group, err := strconv.Atoi(f[5])
	if err != nil || group <= 0 {
		return 0
	}
	return group
}
