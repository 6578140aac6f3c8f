package main

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const benchLayers = 4

// unpackLayer writes the image's one layer to b.tar and returns its size in bytes.
func (b *bench) unpackLayer() int64 {
	index, err := layout.ImageIndexFromPath(filepath.Join(os.Getenv("STEAD_TEST_IMAGES"), "debian-systemd"))
	b.must(err)
	manifest, err := index.IndexManifest()
	b.must(err)
	img, err := index.Image(manifest.Manifests[0].Digest)
	b.must(err)
	layers, err := img.Layers()
	b.must(err)
	if len(layers) != 1 {
		b.t.Fatalf("the image has %d layers, want 1", len(layers))
	}
	r, err := layers[0].Uncompressed()
	b.must(err)
	defer r.Close()
	f, err := os.Create(b.tar)
	b.must(err)
	n, err := io.Copy(f, r)
	b.must(errors.Join(err, f.Close()))
	return n
}

// makeLayers creates an OCI layout with an image "x" from b.tar, whose entries are split, in
// order, into layers of about the same size. It returns the layers' digests.
func (b *bench) makeLayers(dir, compression string) (digests []string) {
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for i, path := range b.split(compression) {
		mediaType := map[string]types.MediaType{"gzip": types.OCILayer, "zstd": types.OCILayerZStd}[compression]
		l, err := tarball.LayerFromFile(path, tarball.WithMediaType(mediaType))
		b.must(err)
		img, err = mutate.Append(img, mutate.Addendum{Layer: l, History: v1.History{CreatedBy: fmt.Sprint("part ", i)}})
		b.must(err)
		h, err := l.Digest()
		b.must(err)
		digests = append(digests, h.Hex)
		defer os.Remove(path)
	}
	c, err := img.ConfigFile()
	b.must(err)
	c = c.DeepCopy()
	c.OS, c.Architecture = "linux", runtime.GOARCH
	img, err = mutate.ConfigFile(img, c)
	b.must(err)
	l, err := layout.Write(dir, empty.Index)
	b.must(err)
	b.must(l.AppendImage(img, layout.WithAnnotations(map[string]string{ocispec.AnnotationRefName: "x"})))
	return digests
}

// split splits b.tar into compressed tars.
func (b *bench) split(compression string) (paths []string) {
	in, err := os.Open(b.tar)
	b.must(err)
	defer in.Close()
	info, err := in.Stat()
	b.must(err)
	tr := tar.NewReader(bufio.NewReaderSize(in, 1<<20))
	var part *layerFile
	for written := int64(0); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		b.must(err)
		if written >= info.Size()*int64(len(paths))/benchLayers && len(paths) < benchLayers {
			b.must(part.close())
			paths = append(paths, b.path(fmt.Sprintf("part-%d.%s", len(paths), compression)))
			part, err = newLayerFile(paths[len(paths)-1], compression)
			b.must(err)
		}
		b.must(part.WriteHeader(h))
		n, err := io.Copy(part, tr)
		b.must(err)
		written += 1024 + n // a header, and half a block of padding on average
	}
	b.must(part.close())
	return paths
}

// layerFile writes a compressed tar.
type layerFile struct {
	*tar.Writer
	below []io.Closer
}

func newLayerFile(path, compression string) (*layerFile, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	zw := io.WriteCloser(gzip.NewWriter(f))
	if compression == "zstd" {
		if zw, err = zstd.NewWriter(f); err != nil {
			return nil, err
		}
	}
	return &layerFile{tar.NewWriter(zw), []io.Closer{zw, f}}, nil
}

func (l *layerFile) close() error {
	if l == nil { // before the first layer
		return nil
	}
	err := l.Close()
	for _, c := range l.below {
		err = errors.Join(err, c.Close())
	}
	return err
}
