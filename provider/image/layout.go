package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/stead-vm/stead/provider/transfer"
)

// layoutSource is an OCI image layout, as a directory or in a tarball.
type layoutSource struct {
	files
	ref reference
}

func (s *Store) openLayout(ctx context.Context, r reference) (source, error) {
	if r.kind == inLayout {
		return &layoutSource{files: folder(r.path), ref: r}, nil
	}
	t, err := openTarball(ctx, r.path, s.tmpDir())
	if err != nil {
		return nil, noFile(r, err)
	}
	return &layoutSource{files: t, ref: r}, nil
}

// noFile turns the error of a missing file into a *[NotFoundError] and adds the reference
// to other errors.
func noFile(r reference, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &NotFoundError{Reference: r.String(), Where: r.path, Hint: "check the path in the reference", Err: err}
	}
	return fmt.Errorf("image %s: %w", r, err)
}

func (l *layoutSource) String() string { return l.ref.String() }

func (l *layoutSource) roots(context.Context) ([]v1.Descriptor, error) {
	var index v1.IndexManifest
	if err := readJSON(l.files, "index.json", &index); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("not an OCI image layout: %w", err)
		}
		return nil, noFile(l.ref, err)
	}
	if l.ref.tag == "" {
		return index.Manifests, l.ambiguous(index.Manifests)
	}
	var roots []v1.Descriptor
	for _, d := range index.Manifests {
		if hasTag(d, l.ref.tag) {
			roots = append(roots, d)
		}
	}
	if len(roots) == 0 {
		return nil, &NotFoundError{
			Reference: l.ref.String(), Where: l.ref.path,
			Hint: "use one of its tags: " + strings.Join(tagsOf(index.Manifests), ", "),
		}
	}
	return roots, nil
}

// containerdName is the annotation for the full name of an image, which Docker and
// containerd write in addition to the specification's annotation for the tag.
const containerdName = "io.containerd.image.name"

// hasTag reports whether d has this tag or this full name.
func hasTag(d v1.Descriptor, tag string) bool {
	return d.Annotations[ocispec.AnnotationRefName] == tag || d.Annotations[containerdName] == tag
}

// tagsOf returns the distinct tags in an index.
func tagsOf(ds []v1.Descriptor) []string {
	var tags []string
	for _, d := range ds {
		if t := d.Annotations[ocispec.AnnotationRefName]; t != "" && !slices.Contains(tags, t) {
			tags = append(tags, t)
		}
	}
	return tags
}

// ambiguous returns an error if images have different names. Images with the same name, or
// without one, differ by platform.
func (l *layoutSource) ambiguous(ds []v1.Descriptor) error {
	tags := tagsOf(ds)
	if len(tags) < 2 {
		return nil
	}
	e := &AmbiguousError{Reference: l.ref.String()}
	for _, t := range tags {
		r := l.ref
		r.tag = t
		e.Choices = append(e.Choices, r.String())
	}
	return e
}

func (l *layoutSource) Open(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	rc, _, err := l.files.open("blobs/" + d.Digest.Algorithm + "/" + d.Digest.Hex)
	if err != nil {
		return nil, &transfer.BlobError{Digest: d.Digest.String(), Source: l.String(), Err: err}
	}
	return rc, nil
}

// readJSON reads a small file.
func readJSON(f files, name string, v any) error {
	rc, size, err := f.open(name)
	if err != nil {
		return err
	}
	defer rc.Close() // only read from
	if size > maxDocument {
		return fmt.Errorf("%s is too large: %d bytes", name, size)
	}
	raw, err := io.ReadAll(rc)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
