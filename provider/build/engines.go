package build

import (
	"context"
	"os"
	"path/filepath"
	"strings"
)

// docker builds with BuildKit. Docker's own driver cannot export an archive unless its
// daemon keeps images in containerd, so that there the daemon is asked to save one.
// https://docs.docker.com/build/exporters/oci-docker/
func docker(ctx context.Context, j *job) error {
	args := append([]string{"buildx", "build", "--progress", "plain"}, j.common()...)
	args = append(args, j.bases("oci-layout://", func(b Base) string { return b.Layout + ":" + b.Tag })...)
	// An attestation would make the image an index, which docker save cannot take.
	env := "BUILDX_NO_DEFAULT_ATTESTATIONS=1"
	builder, err := j.ask(ctx, "buildx", "inspect")
	if err != nil {
		return err
	}
	if !dockerDriver(builder) {
		args = append(args, "--output", "type=oci,compression=uncompressed,dest="+j.out, j.Context)
		return j.run(ctx, env, args...)
	}
	if err := j.run(ctx, env, append(args, "--load", "--iidfile", j.imageID(), j.Context)...); err != nil {
		return err
	}
	id, err := j.built()
	if err != nil {
		return err
	}
	return j.run(ctx, "", "image", "save", "--output", j.out, id)
}

// dockerDriver tells from what "docker buildx inspect" prints whether the builder is
// the daemon itself.
func dockerDriver(inspected string) bool {
	for line := range strings.Lines(inspected) {
		if value, ok := strings.CutPrefix(line, "Driver:"); ok {
			return strings.TrimSpace(value) == "docker"
		}
	}
	return false
}

// podman and buildah are one builder with two command lines. The image stays in their
// store, for the sake of its layers: the next build begins from them.
func podman(ctx context.Context, j *job) error {
	id, err := j.containersBuild(ctx)
	if err != nil {
		return err
	}
	return j.run(ctx, "", "save", "--quiet", "--format", "oci-archive", "--uncompressed", "--output", j.out, id)
}

func buildah(ctx context.Context, j *job) error {
	id, err := j.containersBuild(ctx)
	if err != nil {
		return err
	}
	return j.run(ctx, "", "push", "--quiet", "--disable-compression", id, "oci-archive:"+j.out)
}

// containersBuild is what podman and buildah have in common. It returns the image's ID.
func (j *job) containersBuild(ctx context.Context) (id string, err error) {
	args := append([]string{"build", "--format", "oci", "--layers", "--iidfile", j.imageID()}, j.common()...)
	if err := j.linkBases(); err != nil {
		return "", err
	}
	args = append(args, j.bases("container-image://oci:", func(b Base) string { return b.link() + ":" + b.Tag })...)
	if j.ignore != "" {
		args = append(args, "--ignorefile", j.ignore)
	}
	if err := j.run(ctx, "", append(args, j.Context)...); err != nil {
		return "", err
	}
	return j.built()
}

// linkBases makes the layouts reachable from the working directory of the builder, which
// makes names of their paths: a name has no capitals, and no two images may have the
// same one, or the builder would take the wrong one out of its store.
func (j *job) linkBases() error {
	for _, b := range j.Known {
		if err := os.Symlink(b.Layout, filepath.Join(j.work, b.link())); err != nil {
			return err
		}
	}
	return nil
}

func (b Base) link() string { return "stead-" + strings.ReplaceAll(b.Digest, ":", "-") }

// appleContainer has no way to take an image from a layout: the Dockerfile can only
// begin from what its own store has.
func appleContainer(ctx context.Context, j *job) error {
	args := append([]string{"build", "--progress", "plain"}, j.common()...)
	return j.run(ctx, "", append(args, "--output", "type=oci,dest="+j.out, j.Context)...)
}
