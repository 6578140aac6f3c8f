package build

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"golang.org/x/sync/errgroup"

	"github.com/stead-vm/stead/provider/regular"
	"github.com/stead-vm/stead/provider/size"
)

// keyVersion changes whenever the input of keys changes.
const keyVersion = "stead build 1"

// Key returns a hash, 64 hexadecimal digits, of everything that goes into the image: the
// files of the context that .dockerignore does not exclude, with their modes, the
// Dockerfile, target, arguments, platform and the known images in FROM. Times and owners of
// files do not count, as they differ between clones of the same sources. The project file
// and .git do not count either, as they change without changing the image.
func (s Spec) Key(ctx context.Context) (string, error) {
	if err := s.checkContext(); err != nil {
		return "", err
	}
	path, text, err := s.dockerfile()
	if err != nil {
		return "", err
	}
	ignored, _, err := s.readIgnored(path)
	if err != nil {
		return "", err
	}
	files, err := s.files(ctx, ignored)
	if err != nil {
		return "", err
	}
	type base struct{ Name, Digest string }
	var bases []base
	for _, b := range s.bases(text) {
		bases = append(bases, base{b.Name, b.Digest})
	}
	h := sha256.New()
	// JSON is an unambiguous encoding.
	err = json.NewEncoder(h).Encode(struct {
		Version, Dockerfile, Target, Platform string
		Args                                  map[string]string
		Bases                                 []base
		Files                                 []file
	}{keyVersion, string(text), s.Target, s.Platform, s.Args, bases, files})
	return hex.EncodeToString(h.Sum(nil)), err
}

// bases returns the known images that the Dockerfile or an argument names, ordered by name.
func (s Spec) bases(dockerfile []byte) []Base {
	separates := func(r rune) bool { return strings.ContainsRune(" \t\r\n=,\"'{}", r) }
	words := strings.FieldsFunc(string(dockerfile), separates)
	words = slices.AppendSeq(words, maps.Values(s.Args))
	var used []Base
	for _, b := range s.Known {
		if slices.ContainsFunc(b.names(), func(n string) bool { return slices.Contains(words, n) }) {
			used = append(used, b)
		}
	}
	slices.SortFunc(used, func(a, b Base) int { return cmp.Compare(a.Name, b.Name) })
	return used
}

// names returns the forms of the name that a Dockerfile may use.
func (b Base) names() []string {
	if short, ok := strings.CutSuffix(b.Name, ":latest"); ok {
		return []string{b.Name, short}
	}
	return []string{b.Name}
}

// ignoreFile is the name of the file that excludes files from the context, and the suffix
// of its name if it is for one Dockerfile only.
const ignoreFile = ".dockerignore"

// readIgnored returns the patterns of excluded files and the path of the file that they
// come from.
func (s Spec) readIgnored(dockerfile string) (m *patternmatcher.PatternMatcher, path string, err error) {
	var patterns []string
	for _, path = range []string{dockerfile + ignoreFile, filepath.Join(s.Context, ignoreFile)} {
		text, err := regular.ReadFile(path, maxText)
		if errors.Is(err, fs.ErrNotExist) {
			path = ""
			continue
		}
		if err == nil {
			patterns, err = ignorefile.ReadAll(bytes.NewReader(text))
		}
		if err != nil {
			return nil, "", &SourceError{Path: path, Err: reason(err), Hint: "replace it with a file of patterns that is at most " + size.Measured(maxText) + " large"}
		}
		break
	}
	if m, err = patternmatcher.New(patterns); err != nil {
		return nil, "", &SourceError{Path: path, Err: err, Hint: "fix the invalid pattern in this file"}
	}
	return m, path, nil
}

// file is one file of a context.
type file struct {
	Path string      // slash-separated, relative to the context
	Mode fs.FileMode // type and permissions
	Data string      // the content's digest, or a symlink's target
}

// files lists the files of the context that are not excluded, ordered by path.
func (s Spec) files(ctx context.Context, ignored *patternmatcher.PatternMatcher) ([]file, error) {
	var files []file
	err := filepath.WalkDir(s.Context, func(path string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return s.readError(path, err)
		}
		rel, err := filepath.Rel(s.Context, path)
		if err != nil || rel == "." || path == s.Project {
			return err
		}
		out, err := ignored.MatchesOrParentMatches(rel)
		switch {
		case err != nil:
			return s.readError(path, err)
		case d.Name() == ".git" || out && !ignored.Exclusions():
			return skip(d)
		case out:
			return nil // a later pattern may include something below
		}
		f, ok, err := newFile(path, rel, d)
		if ok {
			files = append(files, f)
		}
		return s.readError(path, err)
	})
	if err != nil {
		return nil, err
	}
	return files, s.digest(ctx, files)
}

// skip skips a file, or a directory with its content.
func skip(d fs.DirEntry) error {
	if d.IsDir() {
		return fs.SkipDir
	}
	return nil
}

// newFile describes a file without its content. It skips sockets, which images cannot
// contain. As builders do, it takes a named pipe or device for what it is and does not read it.
func newFile(path, rel string, d fs.DirEntry) (f file, ok bool, err error) {
	info, err := d.Info()
	if err != nil || info.Mode()&fs.ModeSocket != 0 {
		return file{}, false, err
	}
	f = file{Path: filepath.ToSlash(rel), Mode: info.Mode()}
	if info.Mode()&fs.ModeSymlink != 0 {
		f.Data, err = os.Readlink(path)
	}
	return f, true, err
}

// readError turns an error of a file into a *[SourceError].
func (s Spec) readError(path string, err error) error {
	if err == nil {
		return nil
	}
	return &SourceError{
		Path: path, Err: reason(err),
		Hint: fmt.Sprintf("make it readable, or exclude it in %s", filepath.Join(s.Context, ".dockerignore")),
	}
}

// digest sets the digests of the regular files. It reads several files at once.
func (s Spec) digest(ctx context.Context, files []file) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range files {
		if !files[i].Mode.IsRegular() {
			continue
		}
		g.Go(func() (err error) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			path := filepath.Join(s.Context, filepath.FromSlash(files[i].Path))
			files[i].Data, err = digest(path)
			return s.readError(path, err)
		})
	}
	return g.Wait()
}

func digest(path string) (string, error) {
	f, err := regular.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close() // only read from
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
