package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/stead-vm/stead/provider/local"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/stead-vm/stead/config"
)

// scriptCommand returns a command that runs as the script's own do.
func scriptCommand(ts *testscript.TestScript, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = os.Environ()
	for _, name := range []string{"HOME", "PATH", "STEAD_HOME", "STEAD_ACCEL"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	return cmd
}

// cut (cut TEXT COMMAND...) runs a program and kills it when it prints TEXT. It fails if the
// program ends before.
func cut(ts *testscript.TestScript, _ bool, args []string) {
	cmd := scriptCommand(ts, args[1], args[2:]...)
	r, w, err := os.Pipe()
	ts.Check(err)
	defer r.Close()
	cmd.Stdout, cmd.Stderr = w, w
	err = cmd.Start()
	w.Close()
	ts.Check(err)
	said, lines := false, bufio.NewScanner(r)
	for !said && lines.Scan() {
		ts.Logf("[cut] %s", lines.Text())
		said = strings.Contains(lines.Text(), args[0])
	}
	_ = cmd.Process.Kill() // it may have ended
	go io.Copy(io.Discard, r)
	_ = cmd.Wait() // it was killed
	if !said {
		ts.Fatalf("it never said %q", args[0])
	}
}

// holdProject (hold-project FILE WHO) locks the project, as a command named WHO, until the script
// ends.
func holdProject(ts *testscript.TestScript, _ bool, args []string) {
	p, err := local.New(local.Options{Home: ts.Getenv("STEAD_HOME"), Exe: "/nonexistent", Command: args[1]})
	ts.Check(err)
	file, err := config.Path(ts.MkAbs(args[0]))
	ts.Check(err)
	unlock, err := p.Bundles.Locks().Project(context.Background(), file)
	ts.Check(err)
	ts.Defer(unlock)
}
