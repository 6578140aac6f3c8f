// Package username has the rule for the names of machines' users. The project file, the host and
// the guest apply the same one, so that a name that a guest would refuse is known before anything
// is made.
package username

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// maxLength is the longest name that Linux's user database takes, in bytes (useradd(8)).
const maxLength = 32

// Allowed says which names are valid. It completes "a user name consists of".
const Allowed = "at most 32 letters (a-z, A-Z), digits and _ . @ -, and begins with a letter, a digit or _"

// Valid reports whether a user of that name can be created in a machine. It allows more than
// useradd does, because the name comes from the host. It rejects names that would break a line
// of a user database, a path or sudo's syntax.
func Valid(name string) bool {
	return name != "" && len(name) <= maxLength && !strings.ContainsRune(".@-", rune(name[0])) &&
		!strings.ContainsFunc(name, func(r rune) bool { return !allowed(r) })
}

func allowed(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_.@-", r)
}

// Suggest returns a valid name for the user whose name is not: without the domain of
// CORP\jdoe, and without accents. It returns "" if nothing is left of the name.
func Suggest(name string) string {
	name = name[strings.LastIndexByte(name, '\\')+1:]
	name = strings.Map(func(r rune) rune {
		switch {
		case allowed(r):
			return r
		case unicode.IsSpace(r):
			return '-'
		}
		return -1
	}, norm.NFD.String(strings.TrimSpace(name)))
	name = strings.ToLower(strings.TrimLeft(name, ".@-"))
	return strings.TrimRight(name[:min(len(name), maxLength)], "-")
}
