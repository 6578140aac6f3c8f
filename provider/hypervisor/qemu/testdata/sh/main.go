// Command sh is the only program on a test machine's disk: the agent is the init, and
// "sh -c" knows the commands that the agent's tests need inside the guest.
package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/mdlayher/vsock"
	"golang.org/x/sys/unix"
)

func main() {
	words := strings.Fields(os.Args[len(os.Args)-1])
	commands := map[string]func(args []string) error{
		"cat":  func([]string) error { _, err := io.Copy(os.Stdout, os.Stdin); return err },
		"show": show,
		"hold": hold,
		"dial": dial,
		"walk": walk,
		"keep": keep,
		"exit": func(args []string) error {
			var status int
			_, err := fmt.Sscan(args[0], &status)
			if err == nil {
				os.Exit(status)
			}
			return err
		},
	}
	if err := commands[words[0]](words[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// show waits for a file and prints it.
func show(args []string) error {
	for {
		text, err := os.ReadFile(args[0])
		if err == nil && len(text) > 0 {
			_, err = os.Stdout.Write(text)
			return err
		}
		if !errors.Is(err, os.ErrNotExist) && err != nil {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// hold prints "up", waits for SIGHUP, and notes it in a file.
func hold(args []string) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, unix.SIGHUP)
	fmt.Println("up")
	<-hup
	return os.WriteFile(args[0], []byte("hung up"), 0o600)
}

// walk reads all files beneath a directory and prints how many there are.
func walk(args []string) error {
	files := 0
	err := filepath.WalkDir(args[0], func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		files++
		_, err = os.ReadFile(path)
		return err
	})
	fmt.Print(files)
	return err
}

// keep opens all files of a directory and prints "up". When its input ends, it prints the
// contents of the files.
func keep(args []string) error {
	entries, err := os.ReadDir(args[0])
	if err != nil {
		return err
	}
	var files []io.Reader
	for _, e := range entries {
		f, err := os.Open(filepath.Join(args[0], e.Name()))
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	fmt.Println("up")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	_, err = io.Copy(os.Stdout, io.MultiReader(files...))
	return err
}

// dial proves that a process can reach another one of the same machine at the context
// ID, then sends the port an HTTP request and prints the answer.
func dial(args []string) error {
	var cid, port uint32
	if _, err := fmt.Sscan(strings.Join(args, " "), &cid, &port); err != nil {
		return err
	}
	const own = 4000
	l, err := vsock.ListenContextID(unix.VMADDR_CID_ANY, own, nil)
	if err != nil {
		return err
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "reached ")
			c.Close()
		}
	}()
	for _, p := range []uint32{own, port} {
		answer, err := ask(cid, p)
		if err != nil {
			return err
		}
		fmt.Print(answer)
	}
	return nil
}

// ask returns a port's answer to an HTTP request, or "refused".
func ask(cid, port uint32) (string, error) {
	c, err := vsock.Dial(cid, port, nil)
	if err != nil {
		return "", err
	}
	defer c.Close()
	// A port that refuses may close before or during the request.
	_, _ = io.WriteString(c, "GET /v1/status HTTP/1.0\r\n\r\n")
	answer, _ := io.ReadAll(c)
	if len(answer) == 0 {
		return "refused", nil
	}
	return string(answer), nil
}
