package provider

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stead-vm/stead/provider/ext4"
	"github.com/stead-vm/stead/provider/image"
)

// Transport carries requests to registries.
type Transport = http.RoundTripper

// openImages opens the store of images and cached disks.
func openImages(o Options) (*image.Store, error) {
	return image.New(image.Options{
		Dir: filepath.Join(o.Home, "images"), MakeDisk: makeDisk, DiskFormat: ext4.FormatVersion,
		Log: o.Log, Transport: o.Transport,
	})
}

// makeDisk writes merged layers as an ext4 file system.
func makeDisk(ctx context.Context, f *os.File, layers []image.Layer, size int64, digest string) error {
	merged := make([]ext4.Layer, len(layers))
	for i, l := range layers {
		merged[i] = ext4.Layer(l)
	}
	_, err := ext4.Write(ctx, f, merged, ext4.Options{Size: size, Digest: digest})
	return err
}

// MadeFrom tells which machines were made from which image, by the images' digests.
// Machines of which that cannot be read are listed under "".
func (p *Provider) MadeFrom() (map[string][]string, error) {
	ids, err := p.ids()
	if err != nil {
		return nil, err
	}
	made := map[string][]string{}
	for _, id := range ids {
		r, err := p.bundle(id).readRecord()
		digest := r.Configuration.Image.Digest
		if err != nil {
			digest = ""
		}
		made[digest] = append(made[digest], id)
	}
	return made, nil
}

// UnknownImageError reports a machine of which it cannot be told which image it needs.
type UnknownImageError struct{ ID string }

func (e *UnknownImageError) Error() string {
	return fmt.Sprintf("machine %q cannot be read, so it is not known which image it was made from: no image is removed", e.ID)
}

// Remedy says how to get to know it.
func (e *UnknownImageError) Remedy() string {
	return fmt.Sprintf(`repair it with "stead apply", or remove it with "stead rm %s"`, e.ID)
}

// Built tells whether a reference is the name of an image that was built from a
// machine's sources, and can be again.
func Built(reference string) bool { return strings.HasPrefix(reference, builtName+":") }

// UnusedImages lists the images that no machine was made from.
func (p *Provider) UnusedImages(ctx context.Context) ([]image.Entry, error) {
	entries, err := p.images.List(ctx)
	if err != nil {
		return nil, err
	}
	return p.unused(entries)
}

func (p *Provider) unused(entries []image.Entry) ([]image.Entry, error) {
	made, err := p.MadeFrom()
	if err != nil {
		return nil, err
	}
	if unknown := made[""]; len(unknown) > 0 {
		return nil, &UnknownImageError{ID: unknown[0]}
	}
	return slices.DeleteFunc(entries, func(e image.Entry) bool { return len(made[e.Digest]) > 0 }), nil
}

// PruneOptions says what Prune frees besides what nothing needs.
type PruneOptions struct {
	Images []image.Entry // these too, unless a machine was made from one meanwhile
	Disks  bool          // all cached disks
	DryRun bool          // change nothing, tell what would go
}

// Prune frees what nothing needs: in the store of images, and folders of machines that
// killed commands left half-made or half-removed. Machines' disks are not touched.
func (p *Provider) Prune(ctx context.Context, o PruneOptions) (image.Pruned, error) {
	approved := map[string]bool{}
	for _, e := range o.Images {
		approved[e.Reference+" "+e.Digest] = true
	}
	so := image.PruneOptions{Disks: o.Disks, DryRun: o.DryRun}
	if len(approved) > 0 {
		so.Unwanted = func(entries []image.Entry) ([]image.Entry, error) {
			return p.unused(slices.DeleteFunc(entries, func(e image.Entry) bool { return !approved[e.Reference+" "+e.Digest] }))
		}
	}
	pruned, err := p.images.Prune(ctx, so)
	if err != nil {
		return pruned, err
	}
	return pruned, p.eachLeftover("", func(dir string) error {
		taken, files, err := image.SpaceIn(dir)
		pruned.Freed += taken.Real
		pruned.Files += files
		if err != nil || o.DryRun {
			return err
		}
		return os.RemoveAll(dir)
	})
}
