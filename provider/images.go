package provider

import (
	"context"
	"net/http"
	"os"
	"path/filepath"

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
