package config

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/agext/levenshtein"
)

// maxName is the length of the longest DNS label. A machine's name is its host name.
const maxName = 63

var (
	validName   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	invalidRuns = regexp.MustCompile(`[^a-z0-9]+`)
)

const namesAllowed = "A name consists of lower-case letters, digits and dashes, starts and ends with a letter or digit, and has at most 63 characters."

// isName reports whether s is a valid name of a machine or a project.
func isName(s string) bool { return len(s) <= maxName && validName.MatchString(s) }

// toName returns a valid name made from s, or "" if s has no usable characters.
func toName(s string) string {
	s = strings.Trim(invalidRuns.ReplaceAllString(strings.ToLower(s), "-"), "-")
	return strings.TrimRight(s[:min(len(s), maxName)], "-")
}

// didYouMean returns a sentence that suggests the option nearest to given, with a
// leading space, or "" if no option is near.
func didYouMean(given string, options []string) string {
	near, best := "", 3 // three edits or more make a different word
	for _, option := range options {
		d := distance(given, option)
		if d < best && d <= max(1, len(option)/2) {
			near, best = option, d
		}
	}
	if near == "" {
		return ""
	}
	return fmt.Sprintf(" Did you mean %q?", near)
}

// distance counts the edits between two names. Case, dashes and underscores do not
// count ("homeMount", "home-mount"), and an abbreviation is one edit ("mem").
func distance(a, b string) int {
	a, b = plain(a), plain(b)
	d := levenshtein.Distance(a, b, nil)
	if len(a) >= 3 && len(b) >= 3 && (strings.HasPrefix(a, b) || strings.HasPrefix(b, a)) {
		return min(d, 1)
	}
	return d
}

func plain(s string) string {
	return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(s))
}
