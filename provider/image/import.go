package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/stead-vm/stead/provider/platform"
	"github.com/stead-vm/stead/provider/regular"
	"github.com/stead-vm/stead/provider/transfer"
)

// UnknownFormatError reports a file that is not an image in any known format.
type UnknownFormatError struct {
	File string
	Err  error // may be nil
}

func (e *UnknownFormatError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s is not an image: %v", e.File, e.Err)
	}
	return e.File + " is not an image"
}

// Unwrap returns the cause.
func (e *UnknownFormatError) Unwrap() error { return e.Err }

// Remedy lists what can be imported.
func (e *UnknownFormatError) Remedy() string {
	return "import a tarball of \"docker save\", an OCI layout (a directory or a tarball of one) " +
		"or a tarball of a root file system, plain or compressed"
}

// Import copies an image from a file into the store under a name of the user's choice. It
// detects the format from the content: a tarball of "docker save", an OCI layout as a
// directory or a tarball, or a tarball of a root file system. Tarballs may be compressed.
// Import replaces an earlier image of that name.
func (s *Store) Import(ctx context.Context, name, file string, progress transfer.Progress) (Image, error) {
	as, err := importName(name)
	if err != nil {
		return Image{}, err
	}
	path, err := filepath.Abs(file)
	if err != nil {
		return Image{}, err
	}
	leave, err := s.enter(ctx)
	if err != nil {
		return Image{}, err
	}
	defer leave()
	img, err := s.importAs(ctx, as.String(), path, progress.Serial())
	return img, s.explain(err)
}

// importName parses a name under which a project file can refer to an imported image.
func importName(s string) (reference, error) {
	r, err := parseReference(s)
	if err != nil {
		return reference{}, err
	}
	if _, ok := r.name.(name.Tag); !ok {
		return reference{}, &ReferenceError{
			Reference: s,
			Err:       errors.New("an imported image needs a name and a tag, such as local/debian:12"),
		}
	}
	return r, nil
}

func (s *Store) importAs(ctx context.Context, as, path string, progress transfer.Progress) (Image, error) {
	src, err := s.recognize(ctx, path)
	if err != nil {
		return Image{}, err
	}
	defer s.close(src)
	f, err := s.findForImport(ctx, src, as)
	if err != nil {
		return Image{}, err
	}
	return f.Image, s.copy(ctx, f, as, true, progress)
}

// findForImport returns the image for this host's platform. If the source has a single image, it
// returns that one whatever its platform is: the user has chosen the file.
func (s *Store) findForImport(ctx context.Context, src source, as string) (sourceImage, error) {
	want := platform.Host()
	cands, err := s.candidatesOf(ctx, src)
	if err != nil {
		return sourceImage{}, err
	}
	if len(cands) == 1 {
		want = cands[0].platform.Or(want)
	}
	return s.find(ctx, src, as, want)
}

// recognize detects the format of a file and opens it.
func (s *Store) recognize(ctx context.Context, path string) (source, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, &UnknownFormatError{File: path, Err: err}
	}
	if info.IsDir() {
		if _, err := os.Stat(filepath.Join(path, "index.json")); err != nil {
			return nil, &UnknownFormatError{File: path, Err: fmt.Errorf("the directory is not an OCI image layout: %w", err)}
		}
		return s.openSource(ctx, reference{kind: inLayout, path: path})
	}
	t, err := openTarball(ctx, path, s.tmpDir())
	if err != nil {
		var special *regular.TypeError
		if s.explain(err) != err || ctx.Err() != nil || errors.Is(err, fs.ErrPermission) || errors.As(err, &special) {
			return nil, err
		}
		return nil, &UnknownFormatError{File: path, Err: err}
	}
	src, err := s.recognizeTarball(ctx, t, path)
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return src, nil
}

// recognizeTarball looks for files that only an image archive has. New versions of Docker
// write both formats into one archive; the OCI layout has more information.
func (s *Store) recognizeTarball(ctx context.Context, t *tarFile, path string) (source, error) {
	_, index := t.members["index.json"]
	_, layout := t.members["oci-layout"]
	_, docker := t.members["manifest.json"]
	switch {
	case index && layout:
		return &layoutSource{files: t, ref: reference{kind: inOCIArchive, path: path}}, nil
	case docker:
		return newDockerSource(t, reference{kind: inDockerArchive, path: path})
	case len(t.members) == 0:
		return nil, &UnknownFormatError{File: path, Err: errors.New("the tarball contains no files")}
	}
	return newRootfsSource(ctx, t, path)
}
