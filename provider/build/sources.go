package build

import (
	"path/filepath"

	"github.com/moby/patternmatcher"
)

// Sources lists the files to watch for changes of an image's sources.
type Sources struct {
	// Files are the Dockerfile and the ignore files, inside or outside of the context. They
	// include files that would take precedence if they existed. All paths are absolute.
	Files []string
	// LeftOut reports whether a file or directory of the context, by its path relative to
	// the context, is excluded from the build with everything below it. It is not safe for
	// concurrent use.
	LeftOut func(rel string, folder bool) bool
}

// Sources returns the sources of s. It only reads the Dockerfile and the ignore file; if it
// cannot read them, it excludes nothing.
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
		ignored, _, _ = s.readIgnored(path) // nil if it cannot be read
	}
	return Sources{Files: files, LeftOut: func(rel string, folder bool) bool {
		if filepath.Base(rel) == ".git" || filepath.Join(s.Context, rel) == s.Project {
			return true
		}
		if ignored == nil || folder && ignored.Exclusions() {
			return false // a later pattern may include something below
		}
		out, err := ignored.MatchesOrParentMatches(rel)
		return out && err == nil
	}}
}
