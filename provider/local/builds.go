package local

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/stead-vm/stead/provider/build"
	"github.com/stead-vm/stead/provider/image"
	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/platform"
	"github.com/stead-vm/stead/provider/transfer"
)

// builtName is the name in the store of every built image. The directory is not part of
// it, so that moving a project creates no new machines.
const builtName = "local/build"

// builtReference is the name of the image whose sources have the key, of which 64 bits
// are enough to tell the images of one store apart.
func builtReference(key string) string { return builtName + ":" + key[:16] }

// SourcesChangedError reports sources that changed after the plan was made.
type SourcesChangedError struct{ Context string }

func (e *SourcesChangedError) Error() string {
	return fmt.Sprintf("build: the sources in %s changed since the plan was made", e.Context)
}

// Remedy says how to go on.
func (e *SourcesChangedError) Remedy() string { return "nothing was changed: run the command again" }

// BuiltImage returns the reference of the image that the sources of b make for owner's
// machines, without building it. Its digest is empty while it is not in the store.
func (p *Provider) BuiltImage(ctx context.Context, b machine.Build, owner machine.Owner, want platform.Platform) (reference, digest string, err error) {
	s, err := p.buildSpec(ctx, b, owner, want)
	if err != nil {
		return "", "", err
	}
	key, err := s.Key(ctx)
	if err != nil {
		return "", "", err
	}
	reference = builtReference(key)
	img, err := p.Images.Resolve(ctx, reference, want, false)
	var missing *image.NotFoundError
	if errors.As(err, &missing) {
		return reference, "", nil
	}
	return reference, img.Digest, err
}

// buildSpec is b as the builder sees it.
func (p *Provider) buildSpec(ctx context.Context, b machine.Build, owner machine.Owner, want platform.Platform) (build.Spec, error) {
	s := build.Spec{
		Context: b.Context, Dockerfile: b.Dockerfile, Target: b.Target, Args: b.Args,
		Platform: want.String(), Project: owner.File,
	}
	entries, err := p.Images.List(ctx)
	for _, e := range entries {
		if e.Imported && e.Problem == "" && e.Platform == want && !IsBuilt(e.Reference) {
			s.Known = append(s.Known, build.Base{Name: e.Reference, Digest: e.Digest})
		}
	}
	return s, err
}

// buildImage brings the image of s, which has sources, into the store.
func (p *Provider) buildImage(ctx context.Context, s machine.Spec, progress transfer.Progress) (image.Image, error) {
	if progress == nil {
		progress = func(transfer.Event) {}
	}
	return p.Images.Make(ctx, s.Image, func(ctx context.Context, file string) error {
		sources, err := p.buildSpec(ctx, *s.Build, s.Owner, s.Platform)
		if err != nil {
			return err
		}
		if err := p.unchanged(ctx, sources, s.Image); err != nil {
			return err
		}
		engine, err := build.Find(ctx, p.opts.Builder)
		if err != nil {
			return err
		}
		for i, b := range sources.Known {
			dir := filepath.Join(filepath.Dir(file), fmt.Sprint("base", i))
			known := image.Image{Reference: b.Name, Digest: b.Digest, Platform: s.Platform}
			if err := p.Images.Layout(ctx, known, dir); err != nil {
				return err
			}
			sources.Known[i].Layout, sources.Known[i].Tag = dir, image.LayoutTag
		}
		tell := func(line string) {
			progress(transfer.Event{ID: engine.String(), Action: transfer.ActionBuild, Text: line})
		}
		if err := engine.Build(ctx, sources, file, tell); err != nil {
			return err
		}
		progress(transfer.Event{ID: engine.String(), Action: transfer.ActionBuild, Done: true})
		return p.unchanged(ctx, sources, s.Image) // or the reference would name other sources than the image has
	}, progress)
}

// unchanged returns an error unless the sources are those that the reference was made of.
func (p *Provider) unchanged(ctx context.Context, s build.Spec, reference string) error {
	key, err := s.Key(ctx)
	if err == nil && builtReference(key) != reference {
		err = &SourcesChangedError{Context: s.Context}
	}
	return err
}

// IsBuilt reports whether a reference names an image that was built from a machine's
// sources, and can be built again.
func IsBuilt(reference string) bool { return strings.HasPrefix(reference, builtName+":") }
