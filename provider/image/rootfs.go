package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stead-vm/stead/provider/platform"
	"github.com/stead-vm/stead/provider/transfer"
)

// rootfsSource is the tarball of a root file system, presented as an image of one layer.
// The layer is the uncompressed tarball, so its digest depends on the content alone and
// not on the version of a compressor.
type rootfsSource struct {
	*tarFile
	path  string
	root  v1.Descriptor
	layer v1.Descriptor
	docs  map[v1.Hash][]byte
}

func newRootfsSource(ctx context.Context, t *tarFile, path string) (source, error) {
	r := &rootfsSource{tarFile: t, path: path, docs: map[v1.Hash][]byte{}}
	if err := r.read(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

func (r *rootfsSource) String() string { return r.path }

func (r *rootfsSource) roots(context.Context) ([]v1.Descriptor, error) {
	return []v1.Descriptor{r.root}, nil
}

func (r *rootfsSource) Open(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	if raw, ok := r.docs[d.Digest]; ok {
		return io.NopCloser(bytes.NewReader(raw)), nil
	}
	return io.NopCloser(io.NewSectionReader(r.f, 0, r.layer.Size)), nil
}

// read generates the config and the manifest of the image.
func (r *rootfsSource) read(ctx context.Context) error {
	p, newest, err := survey(r.f)
	if err != nil {
		return err
	}
	if _, err := r.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	h, size, err := v1.SHA256(transfer.Reader(ctx, r.f))
	if err != nil {
		return err
	}
	r.layer = v1.Descriptor{MediaType: types.OCIUncompressedLayer, Size: size, Digest: h}

	created := v1.Time{Time: newest.UTC().Truncate(time.Second)}
	config, err := json.Marshal(v1.ConfigFile{
		OS: p.OS, Architecture: p.Architecture, Created: created,
		RootFS:  v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{h}},
		History: []v1.History{{Created: created, CreatedBy: "stead image import"}},
	})
	if err != nil {
		return err
	}
	manifest, err := json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1,
		Config: r.keep(config, types.OCIConfigJSON), Layers: []v1.Descriptor{r.layer},
	})
	r.root = r.keep(manifest, types.OCIManifestSchema1)
	return err
}

func (r *rootfsSource) keep(raw []byte, mt types.MediaType) v1.Descriptor {
	d := describe(raw, mt)
	r.docs[d.Digest] = raw
	return d
}

// survey returns the time of the newest file in a tarball and the platform of its
// programs. If it finds no program, the platform is the host's.
func survey(f *os.File) (p platform.Platform, newest time.Time, err error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return p, newest, err
	}
	p = platform.Host()
	known := false
	for tr := tar.NewReader(f); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return p, newest, nil
		}
		if err != nil {
			return p, newest, err
		}
		if h.ModTime.After(newest) {
			newest = h.ModTime
		}
		if !known && h.Typeflag == tar.TypeReg && slices.Contains(programDirs, path.Base(path.Dir(h.Name))) {
			p.Architecture, known = processor(tr, p.Architecture)
		}
	}
}

var programDirs = []string{"bin", "sbin", "systemd"}

// processors maps ELF's machines to Go's names. All supported ones are little-endian.
var processors = map[elf.Machine]string{
	elf.EM_X86_64:  "amd64",
	elf.EM_AARCH64: "arm64",
	elf.EM_RISCV:   "riscv64",
	elf.EM_PPC64:   "ppc64le",
	elf.EM_ARM:     "arm",
	elf.EM_386:     "386",
}

// processor reads the architecture from an ELF header: the magic, and e_machine at offset 18.
func processor(r io.Reader, fallback string) (string, bool) {
	head, err := bufio.NewReaderSize(r, 64).Peek(20)
	if err != nil || !bytes.HasPrefix(head, []byte(elf.ELFMAG)) || head[elf.EI_DATA] != byte(elf.ELFDATA2LSB) {
		return fallback, false
	}
	arch, ok := processors[elf.Machine(uint16(head[18])|uint16(head[19])<<8)]
	if !ok {
		return fallback, false
	}
	return arch, true
}
