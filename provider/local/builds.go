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

// builtName is the repository of every built image in the store. It does not include the
// project's directory, so moving a project does not replace its machines.
const builtName = "local/build"

// builtReference returns the reference of the image whose sources have the key. 64 bits of the
// key are enough to distinguish the images of a store.
func builtReference(key string) string { return builtName + ":" + key[:16] }

// SourcesChangedError reports sources that changed after the plan was made.
type SourcesChangedError struct{ Context string }

func (e *SourcesChangedError) Error() string {
	return fmt.Sprintf("build: the sources in %s changed since the plan was made", e.Context)
}

// Remedy says what to do.
func (e *SourcesChangedError) Remedy() string { return "run the command again; nothing was changed" }

// BuiltImage returns the reference of the image that b builds for owner's machines, without
// building it. The digest is empty if the image is not in the store.
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

// buildSpec converts b for the builder.
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

// buildImage builds the image of s if it is not in the store.
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
		return p.unchanged(ctx, sources, s.Image) // the image must match its reference
	}, progress)
}

// unchanged returns an error unless the reference was derived from the sources as they are now.
func (p *Provider) unchanged(ctx context.Context, s build.Spec, reference string) error {
	key, err := s.Key(ctx)
	if err == nil && builtReference(key) != reference {
		err = &SourcesChangedError{Context: s.Context}
	}
	return err
}

// IsBuilt reports whether a reference names an image that stead built from a machine's build
// block, and can build again.
func IsBuilt(reference string) bool { return strings.HasPrefix(reference, builtName+":") }
