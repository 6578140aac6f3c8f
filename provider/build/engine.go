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

// kind describes one kind of builder.
type kind struct {
	name    string
	program string
	ready   []string // arguments of a command that fails if the builder is not ready
	build   func(ctx context.Context, j *job) error
}

// kinds are the builders in order of preference.
var kinds = []kind{
	{"docker buildx", "docker", []string{"buildx", "inspect"}, docker},
	{"podman", "podman", []string{"info"}, podman},
	{"buildah", "buildah", nil, buildah},
	{"Apple's container", "container", []string{"system", "status"}, appleContainer},
}

// readyTimeout limits the wait for a builder whose daemon does not answer.
const readyTimeout = 10 * time.Second

// NoEngineError reports a host without a builder.
type NoEngineError struct {
	Want    string   // the requested builder; may be empty
	Present []string // the installed builders and why they are not ready
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

// Remedy says to start or install a builder.
func (e *NoEngineError) Remedy() string {
	if len(e.Present) > 0 {
		return "start the builder, or install another one: docker buildx, podman, buildah or Apple's container"
	}
	return "install docker buildx, podman, buildah or Apple's container"
}

// Find returns the first builder that is ready. want selects a program: "docker", "podman",
// "buildah", "container", or "" for any.
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
		if err := k.checkReady(ctx, path); err != nil {
			if ctx.Err() != nil {
				return Engine{}, context.Cause(ctx)
			}
			missing.Present = append(missing.Present, fmt.Sprintf("%s is installed but not ready: %v", k.name, err))
			continue
		}
		return Engine{k, path}, nil
	}
	return Engine{}, missing
}

// checkReady returns an error if the builder cannot build now.
func (k kind) checkReady(ctx context.Context, path string) error {
	if k.ready == nil {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("no answer within %v", readyTimeout))
	defer cancel()
	cmd := exec.CommandContext(ctx, path, k.ready...)
	cmd.WaitDelay = time.Second // a child of a script that is killed may keep the pipe open
	out, err := cmd.CombinedOutput()
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
	out        string // path of the archive to write
	work       string // a directory for scratch files
	lines      *tail
}

// Build builds s and writes the image to the file out: an OCI archive, or an archive of
// "docker save" if Docker supports nothing else. It calls line with each line of the
// builder's output. A *[FailedError] has the end of the output.
func (e Engine) Build(ctx context.Context, s Spec, out string, line func(string)) error {
	path, text, err := s.dockerfile()
	if err != nil {
		return err
	}
	_, ignore, err := s.readIgnored(path)
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

// commonArgs returns the arguments that all builders have in common.
func (j *job) commonArgs() []string {
	args := []string{"--platform", j.Platform, "--file", j.dockerfile}
	if j.Target != "" {
		args = append(args, "--target", j.Target)
	}
	for _, name := range slices.Sorted(maps.Keys(j.Args)) {
		args = append(args, "--build-arg", name+"="+j.Args[name])
	}
	return args
}

// baseArgs returns the arguments that pass the known images to the builder, each with
// scheme before its layout.
func (j *job) baseArgs(scheme string, layout func(Base) string) (args []string) {
	for _, b := range j.Known {
		for _, name := range b.names() {
			args = append(args, "--build-context", name+"="+scheme+layout(b))
		}
	}
	return args
}

// imageID returns the path of the file to which the builder writes the image's ID.
func (j *job) imageID() string { return filepath.Join(j.work, "image-id") }

// readImageID returns the ID of the built image.
func (j *job) readImageID() (string, error) {
	id, err := os.ReadFile(j.imageID())
	return strings.TrimSpace(string(id)), err
}
