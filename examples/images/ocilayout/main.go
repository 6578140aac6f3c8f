// Command ocilayout creates an OCI image layout from a root file system tarball.
//
// The examples and the VM tests need images without a registry and a container engine.
// Debian's tools create a tarball; this command does the missing step. The same tarball
// always gives the same digest.
package main

import (
	"archive/tar"
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/match"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// options is the command line.
type options struct {
	dir, tag, rootfs string
	env              list
	stopSignal, arch string
	zstd             bool
}

// list collects a flag that may be given more than once.
type list []string

func (l *list) String() string { return strings.Join(*l, " ") }

// Set appends s.
func (l *list) Set(s string) error {
	*l = append(*l, s)
	return nil
}

func main() {
	var o options
	flag.StringVar(&o.dir, "o", "", "layout `directory`; the image is added to an existing layout")
	flag.StringVar(&o.tag, "tag", "latest", "`name` of the image in the layout")
	flag.Var(&o.env, "env", "`KEY=VALUE` for the image's environment; may be repeated")
	flag.StringVar(&o.stopSignal, "stop-signal", "", "`signal` that makes the image's init shut down")
	flag.StringVar(&o.arch, "arch", runtime.GOARCH, "`architecture` of the image, as Go spells it")
	flag.BoolVar(&o.zstd, "zstd", false, "compress with zstd, which unpacks far faster than gzip but is too new for some tools")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "usage: ocilayout -o DIR [flags] ROOTFS.tar[.gz|.zst]\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	if o.dir == "" || flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	o.rootfs = flag.Arg(0)
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "ocilayout:", err)
		os.Exit(1)
	}
}

// run adds the image to the layout and replaces one with the same tag.
func run(o options) error {
	work, err := os.MkdirTemp("", "ocilayout-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)

	blob := filepath.Join(work, "layer")
	created, err := compress(blob, o)
	if err != nil {
		return fmt.Errorf("%s: %w", o.rootfs, err)
	}
	if created, err = epoch(created); err != nil {
		return err
	}
	img, err := build(blob, created, o)
	if err != nil {
		return err
	}
	path, err := layout.FromPath(o.dir)
	if errors.Is(err, fs.ErrNotExist) {
		path, err = layout.Write(o.dir, empty.Index)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", o.dir, err)
	}
	return put(path, img, o)
}

// put writes img and gives it the tag, which it takes from an image that had it.
func put(path layout.Path, img v1.Image, o options) error {
	if err := path.WriteImage(img); err != nil {
		return err
	}
	digest, err := img.Digest()
	if err != nil {
		return err
	}
	size, err := img.Size()
	if err != nil {
		return err
	}
	if err := path.RemoveDescriptors(match.Name(o.tag)); err != nil {
		return err
	}
	return path.AppendDescriptor(v1.Descriptor{
		MediaType:   types.OCIManifestSchema1,
		Digest:      digest,
		Size:        size,
		Platform:    &v1.Platform{OS: "linux", Architecture: o.arch},
		Annotations: map[string]string{ocispec.AnnotationRefName: o.tag},
	})
}

// epoch returns the time in SOURCE_DATE_EPOCH, for reproducible builds, or else newest.
// See https://reproducible-builds.org/specs/source-date-epoch/.
func epoch(newest time.Time) (time.Time, error) {
	s, ok := os.LookupEnv("SOURCE_DATE_EPOCH")
	if !ok {
		return newest.UTC().Truncate(time.Second), nil
	}
	sec, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("invalid SOURCE_DATE_EPOCH %q: must be seconds since 1970", s)
	}
	return time.Unix(sec, 0).UTC(), nil
}

// build returns an image of one layer.
func build(blob string, created time.Time, o options) (v1.Image, error) {
	mediaType := types.OCILayer
	if o.zstd {
		mediaType = types.OCILayerZStd
	}
	layer, err := tarball.LayerFromFile(blob, tarball.WithMediaType(mediaType))
	if err != nil {
		return nil, err
	}
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	img = mutate.ConfigMediaType(img, types.OCIConfigJSON)
	img, err = mutate.Append(img, mutate.Addendum{
		Layer:   layer,
		History: v1.History{Created: v1.Time{Time: created}, CreatedBy: "ocilayout"},
	})
	if err != nil {
		return nil, err
	}
	cf, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	cf = cf.DeepCopy()
	cf.OS, cf.Architecture = "linux", o.arch
	cf.Created = v1.Time{Time: created}
	cf.Config = v1.Config{Env: o.env, StopSignal: o.stopSignal, Cmd: []string{"/sbin/init"}}
	return mutate.ConfigFile(img, cf)
}

// compress writes the compressed root file system to dst and returns its newest time.
func compress(dst string, o options) (newest time.Time, err error) {
	in, err := os.Open(o.rootfs)
	if err != nil {
		return newest, err
	}
	defer in.Close()
	plain, err := uncompressed(bufio.NewReaderSize(in, 1<<20))
	if err != nil {
		return newest, err
	}
	out, err := os.Create(dst)
	if err != nil {
		return newest, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()

	zw := io.WriteCloser(gzip.NewWriter(out))
	if o.zstd {
		if zw, err = zstd.NewWriter(out); err != nil {
			return newest, err
		}
	}
	tee := io.TeeReader(plain, zw)
	for tr := tar.NewReader(tee); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return newest, fmt.Errorf("not a tar, tar.gz or tar.zst: %w", err)
		}
		if h.ModTime.After(newest) {
			newest = h.ModTime
		}
	}
	if _, err := io.Copy(io.Discard, tee); err != nil { // the padding after the last entry
		return newest, err
	}
	return newest, zw.Close()
}

// uncompressed returns a reader of the uncompressed content. It detects the compression by
// the first bytes: RFC 1952 §2.3.1 and RFC 8878 §3.1.1.
func uncompressed(r *bufio.Reader) (io.Reader, error) {
	magic, _ := r.Peek(4)
	switch {
	case strings.HasPrefix(string(magic), "\x1f\x8b"):
		return gzip.NewReader(r)
	case string(magic) == "\x28\xb5\x2f\xfd":
		return zstd.NewReader(r)
	}
	return r, nil
}
