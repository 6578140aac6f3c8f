package build

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// endTime is what an interrupted builder gets to end by itself.
const endTime = 10 * time.Second

// FailedError reports a builder that failed.
type FailedError struct {
	Args []string // its command line
	Tail string   // the end of what it printed
	Err  error
}

func (e *FailedError) Error() string {
	text := fmt.Sprintf("build: %s: %v", strings.Join(e.Args, " "), e.Err)
	if e.Tail != "" {
		text += "\n" + strings.TrimRight(e.Tail, "\n")
	}
	return text
}

// Unwrap gives the cause.
func (e *FailedError) Unwrap() error { return e.Err }

// Remedy says where to look.
func (e *FailedError) Remedy() string {
	return "the builder's own words are above; mend what it names and run the command again: nothing was changed"
}

// run runs the builder; env is one more variable of its environment, or empty.
func (j *job) run(ctx context.Context, env string, args ...string) error {
	cmd := j.command(ctx, env, args...)
	cmd.Stdout, cmd.Stderr = j.lines, j.lines
	return j.failed(ctx, cmd, cmd.Run(), j.lines.String())
}

// ask runs the builder for what it prints.
func (j *job) ask(ctx context.Context, args ...string) (string, error) {
	cmd := j.command(ctx, "", args...)
	out, err := cmd.CombinedOutput()
	return string(out), j.failed(ctx, cmd, err, string(out))
}

func (j *job) command(ctx context.Context, env string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, j.engine, args...)
	cmd.Dir = j.work
	if env != "" {
		cmd.Env = append(os.Environ(), env)
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = endTime
	return cmd
}

func (j *job) failed(ctx context.Context, cmd *exec.Cmd, err error, printed string) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return &FailedError{Args: cmd.Args, Tail: printed, Err: err}
}

// tailLines is how much of a builder's output an error has.
const tailLines = 25

// tail passes lines on and keeps the last ones.
type tail struct {
	tell func(string)

	mu   sync.Mutex
	rest []byte // a line that has not ended yet
	last []string
}

// Write takes what a program prints. A carriage return, by which progress is redrawn,
// ends a line too.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rest = append(t.rest, p...)
	for {
		end := bytes.IndexAny(t.rest, "\r\n")
		if end < 0 {
			return len(p), nil
		}
		if line := string(bytes.TrimSpace(t.rest[:end])); line != "" {
			t.last = append(t.last[max(0, len(t.last)-tailLines+1):], line)
			t.tell(line)
		}
		t.rest = t.rest[end+1:]
	}
}

// String is the last lines.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := t.last
	if rest := strings.TrimSpace(string(t.rest)); rest != "" {
		lines = append(lines[:len(lines):len(lines)], rest)
	}
	return strings.Join(lines, "\n")
}
