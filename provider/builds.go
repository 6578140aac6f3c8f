package provider

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/stead-vm/stead/provider/build"
	"github.com/stead-vm/stead/provider/image"
)

// builtName is the name in the store of every built image. The folder is not in it, so
// that moving a project makes no new machines.
const builtName = "local/build"

// builtReference is the name of the image whose sources have the key, of which 64 bits
// are enough to tell the images of one store apart.
func builtReference(key string) string { return builtName + ":" + key[:16] }

// SourcesChangedError reports sources that are not those of the plan any more.
type SourcesChangedError struct{ Context string }

func (e *SourcesChangedError) Error() string {
	return fmt.Sprintf("build: the sources in %s have changed since the plan was made", e.Context)
}

// Remedy says how to go on.
func (e *SourcesChangedError) Remedy() string { return "run the command again: nothing was changed" }

// BuiltImage tells which image the sources of b make for owner's machines, without
// making it. Its digest is empty while it is not in the store.
func (p *Provider) BuiltImage(ctx context.Context, b Build, owner Owner, platform string) (reference, digest string, err error) {
	want, err := image.ParsePlatform(platform)
	if err != nil {
		return "", "", err
	}
	s, err := p.buildSpec(ctx, b, owner, want)
	if err != nil {
		return "", "", err
	}
	key, err := s.Key(ctx)
	if err != nil {
		return "", "", err
	}
	reference = builtReference(key)
	img, err := p.images.Resolve(ctx, reference, want, false)
	var missing *image.NotFoundError
	if errors.As(err, &missing) {
		return reference, "", nil
	}
	return reference, img.Digest, err
}

// buildSpec is b as the builder sees it.
func (p *Provider) buildSpec(ctx context.Context, b Build, owner Owner, platform image.Platform) (build.Spec, error) {
	s := build.Spec{
		Context: b.Context, Dockerfile: b.Dockerfile, Target: b.Target, Args: b.Args,
		Platform: platform.String(), Project: owner.File,
	}
	entries, err := p.images.List(ctx)
	for _, e := range entries {
		if e.Imported && e.Problem == "" && e.Platform == platform && !Built(e.Reference) {
			s.Known = append(s.Known, build.Base{Name: e.Reference, Digest: e.Digest})
		}
	}
	return s, err
}

// buildImage brings the image of s, which has sources, into the store.
func (p *Provider) buildImage(ctx context.Context, s Spec, progress image.Progress) (image.Image, error) {
	platform, err := image.ParsePlatform(s.Platform)
	if err != nil {
		return image.Image{}, err
	}
	if progress == nil {
		progress = func(image.Event) {}
	}
	return p.images.Make(ctx, s.Image, func(ctx context.Context, file string) error {
		sources, err := p.buildSpec(ctx, *s.Build, s.Owner, platform)
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
			known := image.Image{Reference: b.Name, Digest: b.Digest, Platform: platform}
			if err := p.images.Layout(ctx, known, dir); err != nil {
				return err
			}
			sources.Known[i].Layout, sources.Known[i].Tag = dir, image.LayoutTag
		}
		tell := func(line string) { progress(image.Event{ID: engine.String(), Action: image.ActionBuild, Text: line}) }
		if err := engine.Build(ctx, sources, file, tell); err != nil {
			return err
		}
		progress(image.Event{ID: engine.String(), Action: image.ActionBuild, Done: true})
		return p.unchanged(ctx, sources, s.Image) // or the key would promise what is not in the image
	}, progress)
}

// unchanged tells whether the sources are those that the reference was made of.
func (p *Provider) unchanged(ctx context.Context, s build.Spec, reference string) error {
	key, err := s.Key(ctx)
	if err == nil && builtReference(key) != reference {
		err = &SourcesChangedError{Context: s.Context}
	}
	return err
}
