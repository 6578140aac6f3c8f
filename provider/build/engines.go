package build

import (
	"context"
	"os"
	"path/filepath"
	"strings"
)

// docker builds with BuildKit. Docker's own driver cannot export an archive unless its
// daemon keeps images in containerd, so with that driver docker uses "docker image save".
// https://docs.docker.com/build/exporters/oci-docker/
func docker(ctx context.Context, j *job) error {
	args := append([]string{"buildx", "build", "--progress", "plain"}, j.commonArgs()...)
	args = append(args, j.baseArgs("oci-layout://", func(b Base) string { return b.Layout + ":" + b.Tag })...)
	// An attestation would turn the image into an index, which docker save does not support.
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
	id, err := j.readImageID()
	if err != nil {
		return err
	}
	return j.run(ctx, "", "image", "save", "--output", j.out, id)
}

// dockerDriver reports whether the builder is the daemon itself, according to the output of
// "docker buildx inspect".
func dockerDriver(inspected string) bool {
	for line := range strings.Lines(inspected) {
		if value, ok := strings.CutPrefix(line, "Driver:"); ok {
			return strings.TrimSpace(value) == "docker"
		}
	}
	return false
}

// podman and buildah are one builder with two command lines. The image stays in their
// store, so that the next build can reuse its layers.
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

// containersBuild builds with podman or buildah and returns the image's ID.
func (j *job) containersBuild(ctx context.Context) (id string, err error) {
	args := append([]string{"build", "--format", "oci", "--layers", "--iidfile", j.imageID()}, j.commonArgs()...)
	if err := j.linkBases(); err != nil {
		return "", err
	}
	args = append(args, j.baseArgs("container-image://oci:", func(b Base) string { return b.link() + ":" + b.Tag })...)
	if j.ignore != "" {
		args = append(args, "--ignorefile", j.ignore)
	}
	if err := j.run(ctx, "", append(args, j.Context)...); err != nil {
		return "", err
	}
	return j.readImageID()
}

// linkBases links the layouts into the working directory of the builder. The builder uses
// their relative paths as image names, which must be lower case and unique: with equal
// names it would take the wrong image from its store.
func (j *job) linkBases() error {
	for _, b := range j.Known {
		if err := os.Symlink(b.Layout, filepath.Join(j.work, b.link())); err != nil {
			return err
		}
	}
	return nil
}

func (b Base) link() string { return "stead-" + strings.ReplaceAll(b.Digest, ":", "-") }

// appleContainer cannot use an image in a layout: FROM only finds images in its own store.
func appleContainer(ctx context.Context, j *job) error {
	args := append([]string{"build", "--progress", "plain"}, j.commonArgs()...)
	return j.run(ctx, "", append(args, "--output", "type=oci,dest="+j.out, j.Context)...)
}
