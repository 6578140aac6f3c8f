package config

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/agext/levenshtein"
)

// maxName is the longest DNS label, for a machine's name is one.
const maxName = 63

var (
	validName   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	invalidRuns = regexp.MustCompile(`[^a-z0-9]+`)
)

const namesAllowed = "A name has lower-case letters, digits and dashes, begins and ends with a letter or digit, and has at most 63 characters."

// isName tells whether s can name a machine or a project.
func isName(s string) bool { return len(s) <= maxName && validName.MatchString(s) }

// toName makes a valid name of s, or returns "" when nothing of s is usable.
func toName(s string) string {
	s = strings.Trim(invalidRuns.ReplaceAllString(strings.ToLower(s), "-"), "-")
	return strings.TrimRight(s[:min(len(s), maxName)], "-")
}

// didYouMean is a sentence that proposes the option nearest to what was given,
// with a space before it, or "" when none is near.
func didYouMean(given string, options []string) string {
	near, best := "", 3 // three edits and more make another word
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

// distance counts the edits between two names. How words are joined does not
// count ("homeMount", "home-mount"); a shortened word is one edit ("mem").
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
