package build

import (
	"path/filepath"

	"github.com/moby/patternmatcher"
)

// Sources say where to look for changes of what an image is built from.
type Sources struct {
	// Files count wherever they are: the Dockerfile and the ignore files, also those
	// that would come before the present ones. Absolute paths, which need not exist.
	Files []string
	// LeftOut tells of what is in the context, by its path relative to it, that no
	// builder is given it, nor anything below. It is not safe for concurrent use.
	LeftOut func(rel string, folder bool) bool
}

// Sources reads no more than the ignore file. Where that cannot be read all counts.
func (s Spec) Sources() Sources {
	dockerfiles := []string{s.Dockerfile}
	if s.Dockerfile == "" {
		dockerfiles = s.defaults()
	}
	files := []string{filepath.Join(s.Context, ignoreFile)}
	for _, path := range dockerfiles {
		files = append(files, path, path+ignoreFile)
	}
	var ignored *patternmatcher.PatternMatcher
	if path, _, err := s.dockerfile(); err == nil {
		ignored, _, _ = s.ignored(path) // nil if it cannot be read
	}
	return Sources{Files: files, LeftOut: func(rel string, folder bool) bool {
		if filepath.Base(rel) == ".git" || filepath.Join(s.Context, rel) == s.Project {
			return true
		}
		if ignored == nil || folder && ignored.Exclusions() {
			return false // a later pattern may want something below
		}
		out, err := ignored.MatchesOrParentMatches(rel)
		return out && err == nil
	}}
}
