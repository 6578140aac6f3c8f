//go:build linux

package account

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/stead-vm/stead/provider/username"
)

// Files holds the texts of a user database. GShadow is empty if the image has no such file.
type Files struct{ Passwd, Group, Shadow, GShadow string }

// Ensure returns the files with an account for want, and the resulting account.
//
// An existing account of that name keeps its home and shell and gets want's ids: see
// [Files.Renumbered]. A shell that does not allow log-in is replaced. An account that a service
// or the system needs with its own ids is a [*ReservedError]. If the image has another account
// with the uid, both stay: want's line comes first, so that the uid resolves to it. If a group
// already has the gid, it is used under its own name.
func (f Files) Ensure(want User) (Files, User, error) {
	if !username.Valid(want.Name) {
		return f, want, fmt.Errorf("user name %q is invalid: a user name consists of %s", want.Name, username.Allowed)
	}
	old, exists := find(ParsePasswd(f.Passwd), want.Name)
	if exists {
		if reserved(old) && (old.UID != want.UID || old.GID != want.GID) {
			return f, want, &ReservedError{Name: old.Name, UID: old.UID}
		}
		want.Home = old.Home
		if !noLogin(old.Shell) {
			want.Shell = old.Shell
		}
	}
	f.ensureGroup(want, old, exists)
	f.ensureUser(want)
	return f, want, nil
}

// Ids of the accounts of people, as distributions assign them (login.defs(5)): lower ones are those
// of the system and its services, and so is that of nobody.
const (
	firstUID  = 1000
	nobodyUID = 65534
)

func reserved(u User) bool { return u.UID < firstUID || u.UID == nobodyUID }

// ReservedError reports an account that a service or the system needs with its own ids, because
// its files have them.
type ReservedError struct {
	Name string
	UID  int
}

func (e *ReservedError) Error() string {
	return fmt.Sprintf("your user cannot be called %s here: that is an account of the image's system or services, with the user id %d; "+
		`set user = "dev" or the like in the machine's block, or create the machine with --user dev`, e.Name, e.UID)
}

// IDs are the former and the new ids of accounts and groups, for the files that they own.
type IDs struct{ Users, Groups map[int]int }

// Renumbered returns the ids that differ between f and then, which [Files.Ensure] made of it. An id
// that another name still has is not among them.
func (f Files) Renumbered(then Files) IDs {
	ids := IDs{map[int]int{}, map[int]int{}}
	users := ParsePasswd(then.Passwd)
	for _, u := range ParsePasswd(f.Passwd) {
		kept := slices.ContainsFunc(users, func(other User) bool { return other.UID == u.UID })
		if now, ok := find(users, u.Name); ok && !kept {
			ids.Users[u.UID] = now.UID
		}
	}
	groups := ParseGroup(then.Group)
	for _, g := range ParseGroup(f.Group) {
		kept := slices.ContainsFunc(groups, func(other Group) bool { return other.GID == g.GID })
		i := slices.IndexFunc(groups, func(other Group) bool { return other.Name == g.Name })
		if i >= 0 && !kept {
			ids.Groups[g.GID] = groups[i].GID
		}
	}
	return ids
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
