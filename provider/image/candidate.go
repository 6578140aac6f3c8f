package image

import (
	"context"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stead-vm/stead/provider/platform"
)

// candidate is an image and its platform, which may be incomplete.
type candidate struct {
	desc     v1.Descriptor
	platform platform.Platform
}

// as returns the image's descriptor with a platform, for an image that does not say.
func (c candidate) as(p platform.Platform) v1.Descriptor {
	d := c.desc
	d.Platform = descriptorOf(p)
	return d
}

// choose returns the image for want. One image that does not say for which platform it is counts
// as one for the host's; of several, none can be told from another.
func choose(reference string, cands []candidate, want platform.Platform) (candidate, error) {
	e := &PlatformError{Reference: reference, Want: want}
	var silent []candidate
	for _, c := range cands {
		switch {
		case !c.platform.Complete():
			silent = append(silent, c)
		case c.platform.Satisfies(want):
			return c, nil
		default:
			e.Have = append(e.Have, c.platform)
		}
	}
	if len(silent) == 1 {
		assumed := silent[0].platform.Or(platform.Host())
		if assumed.Satisfies(want) {
			return silent[0], nil
		}
		e.Have = append(e.Have, assumed)
	}
	return candidate{}, e
}

func (s *Store) candidatesOf(ctx context.Context, src source) ([]candidate, error) {
	var roots []v1.Descriptor
	err := s.retry.Do(ctx, func() (err error) {
		roots, err = src.roots(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	cands, other, err := s.candidates(ctx, src, roots, maxDepth)
	if err == nil && len(cands) == 0 {
		err = other
		if other == nil {
			err = &NotImageError{Reference: src.String(), What: "an index without images"}
		}
	}
	return cands, err
}

// candidates walks indexes down to the images. What is stored beside images, such as signatures,
// is not among them; other says what the first of that is.
func (s *Store) candidates(ctx context.Context, src source, descs []v1.Descriptor, depth int) (all []candidate, other, err error) {
	if depth == 0 {
		return nil, nil, fmt.Errorf("%s: indexes are nested too deeply", src)
	}
	for _, d := range descs {
		var found []candidate
		var artifact error
		switch {
		case d.MediaType.IsIndex():
			var index v1.IndexManifest
			if err := s.document(ctx, src, d, &index); err != nil {
				return nil, nil, err
			}
			found, artifact, err = s.candidates(ctx, src, index.Manifests, depth-1)
		case d.MediaType.IsImage():
			found, artifact, err = s.candidate(ctx, src, d)
		}
		if err != nil {
			return nil, nil, err
		}
		all = append(all, found...)
		if other == nil {
			other = artifact
		}
	}
	return all, other, nil
}

// candidate returns the image that d describes, or else, as other, what it describes.
func (s *Store) candidate(ctx context.Context, src source, d v1.Descriptor) (found []candidate, other, err error) {
	p, err := s.platformOf(ctx, src, d)
	var artifact *NotImageError
	switch {
	case errors.As(err, &artifact):
		return nil, artifact, nil
	case err != nil:
		return nil, nil, err
	case p.OS == "unknown": // an attestation, which buildkit stores like an image
		return nil, &NotImageError{Reference: src.String(), What: "an attestation"}, nil
	}
	return []candidate{{d, p}}, nil, nil
}

// platformOf returns the platform of the descriptor, or else of the image's config.
func (s *Store) platformOf(ctx context.Context, src source, d v1.Descriptor) (platform.Platform, error) {
	stated := describedPlatform(d)
	if stated.Complete() {
		return stated, nil
	}
	m, c, err := s.documents(ctx, src, d)
	if err != nil {
		return platform.Platform{}, err
	}
	return newImage("", d.Digest, m, c).Platform.Or(stated), nil
}

// describedPlatform returns the platform of a descriptor, which may be zero.
func describedPlatform(d v1.Descriptor) platform.Platform {
	if d.Platform == nil {
		return platform.Platform{}
	}
	return platform.Platform{OS: d.Platform.OS, Architecture: d.Platform.Architecture, Variant: d.Platform.Variant}.Normal()
}

// descriptorOf returns p as descriptors have it.
func descriptorOf(p platform.Platform) *v1.Platform {
	return &v1.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}
}
