package image

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// dockerSource is a tarball of "docker save". The format has no manifest with digests, so
// dockerSource generates one, which only depends on the config and the layers. The layers
// stay as they are: compressing them would take longer than everything else together.
type dockerSource struct {
	*tarFile
	ref  reference
	root v1.Descriptor
	docs map[v1.Hash][]byte // the generated manifest and the config
	blob map[v1.Hash]string // the member that holds a layer
}

// dockerEntry is one image in the file manifest.json.
type dockerEntry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func (s *Store) openDockerArchive(ctx context.Context, r reference) (source, error) {
	t, err := openTarball(ctx, r.path, s.tmpDir())
	if err != nil {
		return nil, noFile(r, err)
	}
	d, err := newDockerSource(t, r)
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return d, nil
}

func newDockerSource(t *tarFile, r reference) (source, error) {
	d := &dockerSource{tarFile: t, ref: r, docs: map[v1.Hash][]byte{}, blob: map[v1.Hash]string{}}
	if err := d.read(); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *dockerSource) String() string { return d.ref.String() }

func (d *dockerSource) roots(context.Context) ([]v1.Descriptor, error) {
	return []v1.Descriptor{d.root}, nil
}

func (d *dockerSource) Open(_ context.Context, desc v1.Descriptor) (io.ReadCloser, error) {
	if raw, ok := d.docs[desc.Digest]; ok {
		return io.NopCloser(bytes.NewReader(raw)), nil
	}
	rc, _, err := d.tarFile.open(d.blob[desc.Digest])
	return rc, err
}

// read chooses the image and generates its manifest.
func (d *dockerSource) read() error {
	var entries []dockerEntry
	if err := readJSON(d.tarFile, "manifest.json", &entries); err != nil {
		return fmt.Errorf("image %s: not a tarball of \"docker save\": %w", d.ref, err)
	}
	e, err := d.choose(entries)
	if err != nil {
		return err
	}
	var config json.RawMessage
	if err := readJSON(d.tarFile, e.Config, &config); err != nil {
		return fmt.Errorf("image %s: config: %w", d.ref, err)
	}
	raw, err := d.manifest(e, config)
	if err != nil {
		return fmt.Errorf("image %s: %w", d.ref, err)
	}
	d.root = d.keep(raw, types.OCIManifestSchema1)
	return nil
}

// choose returns the entry that the reference names, or the only one.
func (d *dockerSource) choose(entries []dockerEntry) (dockerEntry, error) {
	var tags []string
	for _, e := range entries {
		for _, t := range e.RepoTags {
			if d.ref.tag != "" && sameName(t, d.ref.tag) {
				return e, nil
			}
			tags = append(tags, fmt.Sprintf("docker-archive:%s:%s", d.ref.path, t))
		}
	}
	if d.ref.tag == "" && len(entries) == 1 {
		return entries[0], nil
	}
	if d.ref.tag == "" && len(entries) > 1 {
		return dockerEntry{}, &AmbiguousError{Reference: d.ref.String(), Choices: tags}
	}
	return dockerEntry{}, &NotFoundError{
		Reference: d.ref.String(), Where: d.ref.path,
		Hint: fmt.Sprintf("use one of the names in the file, which holds %d images: %q", len(entries), tags),
	}
}

// sameName compares names as Docker does: debian is docker.io/library/debian:latest.
func sameName(a, b string) bool {
	x, errX := name.ParseReference(a)
	y, errY := name.ParseReference(b)
	return errX == nil && errY == nil && x.Name() == y.Name()
}

// manifest generates the manifest of an entry. It takes the digest of an uncompressed layer
// from the config; copying the layer verifies it.
func (d *dockerSource) manifest(e dockerEntry, config []byte) ([]byte, error) {
	var c v1.ConfigFile
	if err := json.Unmarshal(config, &c); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	if len(c.RootFS.DiffIDs) != len(e.Layers) {
		return nil, fmt.Errorf("it has %d layers, but its config lists %d", len(e.Layers), len(c.RootFS.DiffIDs))
	}
	m := v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		Config:        d.keep(config, types.OCIConfigJSON),
	}
	for i, member := range e.Layers {
		l, err := d.layer(member, c.RootFS.DiffIDs[i])
		if err != nil {
			return nil, fmt.Errorf("layer %s: %w", member, err)
		}
		m.Layers = append(m.Layers, l)
		d.blob[l.Digest] = member
	}
	return json.Marshal(m)
}

// layerTypes are the media types of layers in the store.
var layerTypes = map[compression]types.MediaType{
	plain:     types.OCIUncompressedLayer,
	gzipped:   types.OCILayer,
	zstandard: types.OCILayerZStd,
}

func (d *dockerSource) layer(member string, diffID v1.Hash) (v1.Descriptor, error) {
	rc, size, err := d.tarFile.open(member)
	if err != nil {
		return v1.Descriptor{}, err
	}
	defer rc.Close() // only read from
	br := bufio.NewReader(rc)
	c := detect(br)
	desc := v1.Descriptor{MediaType: layerTypes[c], Size: size, Digest: diffID}
	switch c {
	case plain:
		return desc, nil
	case gzipped, zstandard:
		desc.Digest, _, err = v1.SHA256(br)
		return desc, err
	case xzipped, bzipped:
	}
	return desc, errors.New("unsupported compression: a layer must be uncompressed or use gzip or zstd")
}

// keep stores a document under its digest.
func (d *dockerSource) keep(raw []byte, mt types.MediaType) v1.Descriptor {
	desc := describe(raw, mt)
	d.docs[desc.Digest] = raw
	return desc
}

// describe returns the descriptor of raw.
func describe(raw []byte, mt types.MediaType) v1.Descriptor {
	h, n, _ := v1.SHA256(bytes.NewReader(raw)) // reading memory does not fail
	return v1.Descriptor{MediaType: mt, Size: n, Digest: h}
}
