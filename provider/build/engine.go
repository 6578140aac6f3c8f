package build

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Engine is a builder of this host.
type Engine struct {
	kind kind
	path string // of its program
}

// kind is what distinguishes one builder from the others.
type kind struct {
	name    string
	program string
	ready   []string // arguments of a command that fails when it cannot build now
	build   func(ctx context.Context, j *job) error
}

// kinds are the builders, the one that most people mean first.
var kinds = []kind{
	{"docker buildx", "docker", []string{"buildx", "inspect"}, docker},
	{"podman", "podman", []string{"info"}, podman},
	{"buildah", "buildah", nil, buildah},
	{"Apple's container", "container", []string{"system", "status"}, appleContainer},
}

// readyTimeout is for a builder whose daemon does not answer.
const readyTimeout = 10 * time.Second

// NoEngineError reports a host without a builder.
type NoEngineError struct {
	Want    string   // the one that was asked for; may be empty
	Present []string // those that are there and cannot build now, and why
}

func (e *NoEngineError) Error() string {
	text := "no builder: looked for docker (with buildx), podman, buildah and Apple's container"
	if e.Want != "" {
		text = fmt.Sprintf("no builder: looked for %q", e.Want)
	}
	if len(e.Present) > 0 {
		text += "; " + strings.Join(e.Present, "; ")
	}
	return text
}

// Remedy says what to do.
func (e *NoEngineError) Remedy() string {
	if len(e.Present) > 0 {
		return "start the builder, or install another one of docker buildx, podman, buildah and Apple's container"
	}
	return "install one of docker buildx, podman, buildah and Apple's container"
}

// Find returns the first builder that can build now. With want only the one of that
// program counts: "docker", "podman", "buildah" or "container".
func Find(ctx context.Context, want string) (Engine, error) {
	missing := &NoEngineError{Want: want}
	for _, k := range kinds {
		if want != "" && want != k.program {
			continue
		}
		path, err := exec.LookPath(k.program)
		if err != nil {
			continue
		}
		if err := k.answers(ctx, path); err != nil {
			if ctx.Err() != nil {
				return Engine{}, context.Cause(ctx)
			}
			missing.Present = append(missing.Present, fmt.Sprintf("%s is there, but says %q", k.name, err))
			continue
		}
		return Engine{k, path}, nil
	}
	return Engine{}, missing
}

// answers asks the builder whether it can build.
func (k kind) answers(ctx context.Context, path string) error {
	if k.ready == nil {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, errors.New("nothing"))
	defer cancel()
	out, err := exec.CommandContext(ctx, path, k.ready...).CombinedOutput()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return errors.New(last)
	}
	return err
}

func (e Engine) String() string { return e.kind.name }

// job is one build by one builder.
type job struct {
	Spec
	engine     string // path of the program
	dockerfile string
	ignore     string // path of the ignore file; may be empty
	out        string // where the archive has to be
	work       string // a directory for scratch files
	lines      *tail
}

// Build builds s and writes the image to the file out: an OCI archive, or the archive
// of "docker save" where Docker has nothing else. Its output goes to line, line by
// line. A *[FailedError] has the end of it.
func (e Engine) Build(ctx context.Context, s Spec, out string, line func(string)) error {
	path, text, err := s.dockerfile()
	if err != nil {
		return err
	}
	_, ignore, err := s.ignored(path)
	if err != nil {
		return err
	}
	s.Known = s.bases(text)
	work, err := os.MkdirTemp(filepath.Dir(out), "build-")
	if err != nil {
		return err
	}
	j := &job{Spec: s, engine: e.path, dockerfile: path, ignore: ignore, out: out, work: work, lines: &tail{tell: line}}
	return errors.Join(e.kind.build(ctx, j), os.RemoveAll(work))
}

// common are the arguments that all builders understand in the same way.
func (j *job) common() []string {
	args := []string{"--platform", j.Platform, "--file", j.dockerfile}
	if j.Target != "" {
		args = append(args, "--target", j.Target)
	}
	for _, name := range slices.Sorted(maps.Keys(j.Args)) {
		args = append(args, "--build-arg", name+"="+j.Args[name])
	}
	return args
}

// bases hands the known images to the builder, each in a form that begins with scheme.
func (j *job) bases(scheme string, layout func(Base) string) (args []string) {
	for _, b := range j.Known {
		for _, name := range b.names() {
			args = append(args, "--build-context", name+"="+scheme+layout(b))
		}
	}
	return args
}

// imageID is where the builder writes which image it made.
func (j *job) imageID() string { return filepath.Join(j.work, "image-id") }

// built reads it.
func (j *job) built() (string, error) {
	id, err := os.ReadFile(j.imageID())
	return strings.TrimSpace(string(id)), err
}
