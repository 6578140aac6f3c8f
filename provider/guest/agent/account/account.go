//go:build linux

// Package account reads and edits a guest's user database as text.
//
// It edits the files directly instead of running useradd: an image may have no such tool,
// its init does not run yet, and running tools costs more than the edit. It keeps lines
// that it cannot parse as they are.
package account

import (
	"slices"
	"strconv"
	"strings"
)

// User is one line of /etc/passwd.
type User struct {
	Name     string
	UID, GID int
	Home     string
	Shell    string
}

// Group is one line of /etc/group.
type Group struct {
	Name    string
	GID     int
	Members []string
}

// ParsePasswd returns the users in a passwd file. It skips invalid lines.
func ParsePasswd(text string) []User {
	var users []User
	for line := range strings.Lines(text) {
		if u, ok := parseUser(line); ok {
			users = append(users, u)
		}
	}
	return users
}

func parseUser(line string) (User, bool) {
	f, ok := fields(line, 7)
	if !ok {
		return User{}, false
	}
	uid, ok1 := parseID(f[2])
	gid, ok2 := parseID(f[3])
	return User{Name: f[0], UID: uid, GID: gid, Home: f[5], Shell: f[6]}, ok1 && ok2
}

// ParseGroup returns the groups in a group file. It skips invalid lines.
func ParseGroup(text string) []Group {
	var groups []Group
	for line := range strings.Lines(text) {
		if g, ok := parseGroup(line); ok {
			groups = append(groups, g)
		}
	}
	return groups
}

func parseGroup(line string) (Group, bool) {
	f, ok := fields(line, 4)
	if !ok {
		return Group{}, false
	}
	gid, ok := parseID(f[2])
	members := strings.FieldsFunc(f[3], func(r rune) bool { return r == ',' || r == ' ' })
	return Group{Name: f[0], GID: gid, Members: members}, ok
}

// fields splits a line of a user database. Comments and NIS lines, which start with + or -,
// are not entries.
func fields(line string, n int) ([]string, bool) {
	line = strings.TrimRight(line, "\r\n")
	if line == "" || strings.ContainsRune("#+-:", rune(line[0])) {
		return nil, false
	}
	f := strings.Split(line, ":")
	return f, len(f) == n
}

// parseID accepts the ids that the kernel does, except for the one that means "none".
func parseID(s string) (int, bool) {
	id, err := strconv.ParseUint(s, 10, 32)
	return int(id), err == nil && id != 1<<32-1
}

// groupsOf lists the supplementary groups of a user, as initgroups(3) does.
func groupsOf(groups []Group, name string, gid int) []int {
	ids := []int{gid}
	for _, g := range groups {
		if slices.Contains(g.Members, name) && !slices.Contains(ids, g.GID) {
			ids = append(ids, g.GID)
		}
	}
	return ids
}
