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

// endTime is the time that an interrupted builder has to end by itself.
const endTime = 10 * time.Second

// FailedError reports a builder that failed.
type FailedError struct {
	Args []string // its command line
	Tail string   // the end of its output
	Err  error
}

func (e *FailedError) Error() string {
	text := fmt.Sprintf("build: %s: %v", strings.Join(e.Args, " "), e.Err)
	if e.Tail != "" {
		text += "\n" + strings.TrimRight(e.Tail, "\n")
	}
	return text
}

// Unwrap returns the cause.
func (e *FailedError) Unwrap() error { return e.Err }

// Remedy points to the builder's output.
func (e *FailedError) Remedy() string {
	return "fix the problem that the builder reports above, then run the command again; nothing was changed"
}

// run runs the builder. env is an additional variable of its environment, or empty.
func (j *job) run(ctx context.Context, env string, args ...string) error {
	cmd := j.command(ctx, env, args...)
	cmd.Stdout, cmd.Stderr = j.lines, j.lines
	return j.wrapError(ctx, cmd, cmd.Run(), j.lines.String())
}

// ask runs the builder and returns its output.
func (j *job) ask(ctx context.Context, args ...string) (string, error) {
	cmd := j.command(ctx, "", args...)
	out, err := cmd.CombinedOutput()
	return string(out), j.wrapError(ctx, cmd, err, string(out))
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

// wrapError turns an error of a command into a *[FailedError].
func (j *job) wrapError(ctx context.Context, cmd *exec.Cmd, err error, printed string) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return &FailedError{Args: cmd.Args, Tail: printed, Err: err}
}

// tailLines is the number of lines of a builder's output in an error.
const tailLines = 25

// tail passes lines on and keeps the last ones.
type tail struct {
	tell func(string)

	mu   sync.Mutex
	rest []byte // the beginning of an incomplete line
	last []string
}

// Write splits p into lines. A carriage return, which programs use to redraw progress, also
// ends a line.
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

// String returns the last lines.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := t.last
	if rest := strings.TrimSpace(string(t.rest)); rest != "" {
		lines = append(lines[:len(lines):len(lines)], rest)
	}
	return strings.Join(lines, "\n")
}
