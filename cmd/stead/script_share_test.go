package main

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// readsInside is a program that, for each line with a path, looks at the path, opens it and
// prints what it has read in hexadecimal, or the error.
const readsInside = `$| = 1; while (<STDIN>) { chomp; my @looked = lstat; ` +
	`if (!sysopen my $f, $_, 0) { print "$!\n" } ` +
	`elsif (!defined sysread $f, my $c, 4096) { print "$!\n" } else { print unpack("H*", $c), "\n" } }`

// editRound is how long the machine may take to read a file.
const editRound = time.Minute

// editShare (edit-share MACHINE DIR EDITS) changes files of DIR, which the machine shares, in
// every way that the host can, and reads each at once inside the machine. What it reads must be
// what is there: not a moment ago, and not the new content cut at the old size.
func editShare(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[1])
	edits, err := strconv.Atoi(args[2])
	ts.Check(err)
	ts.Check(os.MkdirAll(dir, 0o755))

	cmd := scriptCommand(ts, "stead", "run", "-n", args[0], "-w", dir, "perl", "-e", shellQuote(readsInside))
	stdin, err := cmd.StdinPipe()
	ts.Check(err)
	stdout, err := cmd.StdoutPipe()
	ts.Check(err)
	cmd.Stderr = os.Stderr
	ts.Check(cmd.Start())
	hung := time.AfterFunc(editRound, func() { _ = cmd.Process.Kill() })
	defer hung.Stop()
	answers := bufio.NewReader(stdout)

	seed := rand.Uint64()
	ts.Logf("[edit-share] seed %d", seed)
	e := editor{dir: dir, random: rand.New(rand.NewPCG(seed, 0))}
	for i := range edits {
		name := []string{"a", "b"}[e.random.IntN(2)]
		what, err := e.edit(name)
		if err != nil {
			ts.Fatalf("edit %d, %s %s: %v", i, what, name, err)
		}
		for _, path := range []string{name, name + "/inside"} {
			hung.Reset(editRound)
			_, err := io.WriteString(stdin, path+"\n")
			ts.Check(err)
			got, err := answers.ReadString('\n')
			if err != nil {
				ts.Fatalf("the machine does not answer: %v", err)
			}
			if want := contentOf(filepath.Join(dir, path)); strings.TrimSpace(got) != want {
				ts.Fatalf("after edit %d (%s %s), the machine reads %s as %q, want %q", i, what, name, path, strings.TrimSpace(got), want)
			}
		}
	}
	ts.Check(stdin.Close())
	ts.Check(cmd.Wait())
}

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// contentOf returns what readsInside prints for a path that is read on the host.
func contentOf(path string) string {
	content, err := os.ReadFile(path)
	var pathError *os.PathError
	switch {
	case err == nil:
		return hex.EncodeToString(content)
	case errors.As(err, &pathError) && pathError.Err.Error() == "is a directory":
		return "Is a directory"
	case errors.Is(err, os.ErrNotExist):
		return "No such file or directory"
	case errors.As(err, &pathError) && pathError.Err.Error() == "not a directory":
		return "Not a directory"
	}
	return err.Error()
}

// editor makes random edits.
type editor struct {
	dir    string
	random *rand.Rand
	made   int
}

// content returns a new content of any length up to 40 bytes.
func (e *editor) content() []byte {
	e.made++
	return fmt.Appendf(nil, "%d%s", e.made, strings.Repeat(".", e.random.IntN(40)))
}

// edit changes what has the name in one of the ways that fit what it is. It says how.
func (e *editor) edit(name string) (what string, err error) {
	path := filepath.Join(e.dir, name)
	st, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return e.make(path)
	}
	if err != nil {
		return "stat", err
	}
	if st.Mode().IsRegular() {
		switch e.random.IntN(6) {
		case 0:
			return "write", os.WriteFile(path, e.content(), 0o644)
		case 1:
			return "truncate", os.Truncate(path, e.random.Int64N(20))
		case 2:
			return "append to", e.append(path)
		}
	}
	switch aside := filepath.Join(e.dir, fmt.Sprintf("aside-%d", e.made)); e.random.IntN(4) {
	case 0:
		return "rename over", e.replace(path)
	case 1:
		if err := os.Rename(path, aside); err != nil {
			return "move", err
		}
		what, err := e.make(path)
		return "move, and " + what, err
	case 2:
		other := filepath.Join(e.dir, map[string]string{"a": "b", "b": "a"}[name])
		if err := errors.Join(os.Rename(path, aside), renameIfThere(other, path), os.Rename(aside, other)); err != nil {
			return "swap", err
		}
		return "swap", nil
	default:
		return "remove", os.RemoveAll(path)
	}
}

func renameIfThere(from, to string) error {
	if err := os.Rename(from, to); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (e *editor) append(path string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(e.content())
	return errors.Join(err, f.Close())
}

// replace renames another file over path, as an editor that saves does.
func (e *editor) replace(path string) error {
	if st, err := os.Lstat(path); err == nil && st.IsDir() {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return errors.Join(os.WriteFile(path+".new", e.content(), 0o644), os.Rename(path+".new", path))
}

// make makes a file, a directory with one, or a link to either.
func (e *editor) make(path string) (what string, err error) {
	target := fmt.Sprintf("target-%d", e.made)
	switch e.random.IntN(4) {
	case 0:
		return "make the file", os.WriteFile(path, e.content(), 0o644)
	case 1:
		return "make the directory", errors.Join(os.Mkdir(path, 0o755), os.WriteFile(filepath.Join(path, "inside"), e.content(), 0o644))
	case 2:
		return "make the link", errors.Join(os.WriteFile(filepath.Join(e.dir, target), e.content(), 0o644), os.Symlink(target, path))
	default:
		into := filepath.Join(e.dir, target+".d")
		return "make the link to a directory", errors.Join(os.Mkdir(into, 0o755),
			os.WriteFile(filepath.Join(into, "inside"), e.content(), 0o644), os.Symlink(target+".d", path))
	}
}
