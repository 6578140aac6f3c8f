//go:build linux

package account

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Files holds the texts of a user database. GShadow is empty if the image has no such file.
type Files struct{ Passwd, Group, Shadow, GShadow string }

// ValidName reports whether a user of that name can be created. It allows more than useradd
// does, because the name comes from the host. It rejects names that would break a line, a
// path or sudo's syntax.
func ValidName(name string) bool {
	foreign := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("_.@-", r)
	}
	return name != "" && len(name) <= 32 && !strings.ContainsRune(".@-", rune(name[0])) && !strings.ContainsFunc(name, foreign)
}

// Ensure returns the files with an account for want, and the resulting account.
//
// An existing account of that name keeps its home and shell and gets want's ids. A shell
// that does not allow log-in is replaced. If the image has another account with the uid, both
// stay: want's line comes first, so that the uid resolves to it. If a group already has the
// gid, it is used under its own name.
func (f Files) Ensure(want User) (Files, User, error) {
	if !ValidName(want.Name) {
		return f, want, fmt.Errorf("user name %q is invalid: use at most 32 letters, digits and _ . @ -", want.Name)
	}
	old, exists := find(ParsePasswd(f.Passwd), want.Name)
	if exists {
		want.Home = old.Home
		if !noLogin(old.Shell) {
			want.Shell = old.Shell
		}
	}
	f.ensureGroup(want, old, exists)
	f.ensureUser(want)
	return f, want, nil
}

func find(users []User, name string) (User, bool) {
	i := slices.IndexFunc(users, func(u User) bool { return u.Name == name })
	if i < 0 {
		return User{}, false
	}
	return users[i], true
}

func noLogin(shell string) bool {
	return strings.HasSuffix(shell, "/nologin") || strings.HasSuffix(shell, "/false")
}

func (f *Files) ensureUser(u User) {
	uid, gid := strconv.Itoa(u.UID), strconv.Itoa(u.GID)
	lines, at := splitLines(f.Passwd), -1
	for i, line := range lines {
		if old, ok := parseUser(line); ok && old.Name == u.Name {
			p := strings.Split(line, ":")
			p[2], p[3], p[5], p[6] = uid, gid, u.Home, u.Shell
			lines[i], at = strings.Join(p, ":"), i
			break
		}
	}
	if at < 0 {
		at = len(lines)
		lines = append(lines, strings.Join([]string{u.Name, "x", uid, gid, u.Name, u.Home, u.Shell}, ":"))
	}
	namesake := slices.IndexFunc(lines, func(line string) bool {
		other, ok := parseUser(line)
		return ok && other.UID == u.UID
	})
	if namesake < at {
		line := lines[at]
		lines = slices.Insert(slices.Delete(lines, at, at+1), namesake, line)
	}
	f.Passwd = joinLines(lines)
	// "*" matches no password. "!" would mark the account as locked, which some log-in
	// programs refuse.
	f.Shadow = ensureLine(f.Shadow, u.Name, u.Name+":*:::::::")
}

func (f *Files) ensureGroup(u, old User, existed bool) {
	groups := ParseGroup(f.Group)
	if slices.ContainsFunc(groups, func(g Group) bool { return g.GID == u.GID }) {
		return
	}
	name, lines := u.Name, splitLines(f.Group)
	for i, line := range lines {
		g, ok := parseGroup(line)
		if !ok || g.Name != u.Name {
			continue
		}
		if existed && g.GID == old.GID { // the user's own group moves with the user
			p := strings.Split(line, ":")
			p[2] = strconv.Itoa(u.GID)
			lines[i] = strings.Join(p, ":")
			f.Group = joinLines(lines)
			return
		}
		name = fmt.Sprintf("%s-%d", u.Name, u.GID)
	}
	f.Group = joinLines(append(lines, fmt.Sprintf("%s:x:%d:", name, u.GID)))
	if f.GShadow != "" {
		f.GShadow = ensureLine(f.GShadow, name, name+":!::")
	}
}

// ensureLine adds line unless the text has an entry of that name.
func ensureLine(text, name, line string) string {
	lines := splitLines(text)
	if slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, name+":") }) {
		return text
	}
	return joinLines(append(lines, line))
}

func splitLines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

func joinLines(lines []string) string {
	return strings.Join(lines, "\n") + "\n"
}
