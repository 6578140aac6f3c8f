//go:build linux

package account

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/stead-vm/stead/provider/username"
)

// EnsureGroups returns the files with name as a member of the groups in want, found by their ids.
// It ends the memberships in added, which an earlier call returned, that are not in want any more;
// those that the image or the guest's root has made stay. It adds a group that does not exist,
// under its own name if that is valid and free.
func (f Files) EnsureGroups(name string, want []Group, added []int) (now Files, memberships []int) {
	wanted := func(gid int) bool {
		return slices.ContainsFunc(want, func(g Group) bool { return g.GID == gid })
	}
	for _, gid := range added {
		if g, ok := f.group(gid); ok && !wanted(gid) {
			f.setMember(g.Name, name, false)
		}
	}
	for _, w := range want {
		g, ok := f.group(w.GID)
		if !ok {
			g = Group{Name: f.freeName(w), GID: w.GID}
			f.Group = joinLines(append(splitLines(f.Group), fmt.Sprintf("%s:x:%d:", g.Name, g.GID)))
			if f.GShadow != "" {
				f.GShadow = ensureLine(f.GShadow, g.Name, g.Name+":!::")
			}
		}
		if !slices.Contains(g.Members, name) || slices.Contains(added, w.GID) {
			memberships = append(memberships, w.GID)
		}
		f.setMember(g.Name, name, true)
	}
	return f, memberships
}

func (f *Files) group(gid int) (Group, bool) {
	groups := ParseGroup(f.Group)
	i := slices.IndexFunc(groups, func(g Group) bool { return g.GID == gid })
	if i < 0 {
		return Group{}, false
	}
	return groups[i], true
}

// freeName returns the name under which a group of the host is added.
func (f *Files) freeName(g Group) string {
	taken := func(name string) bool {
		return slices.ContainsFunc(splitLines(f.Group), func(l string) bool { return strings.HasPrefix(l, name+":") })
	}
	if username.Valid(g.Name) && !taken(g.Name) {
		return g.Name
	}
	name := "host-" + strconv.Itoa(g.GID)
	for taken(name) {
		name += "_"
	}
	return name
}

// setMember adds or removes a member of a group. Both files list them last.
func (f *Files) setMember(group, name string, member bool) {
	for _, text := range []*string{&f.Group, &f.GShadow} {
		lines := splitLines(*text)
		for i, line := range lines {
			p := strings.Split(line, ":")
			if p[0] != group || len(p) != 4 {
				continue
			}
			members := strings.FieldsFunc(p[3], func(r rune) bool { return r == ',' || r == ' ' })
			if slices.Contains(members, name) == member {
				break
			}
			if member {
				members = append(members, name)
			} else {
				members = slices.DeleteFunc(members, func(m string) bool { return m == name })
			}
			p[3] = strings.Join(members, ",")
			lines[i] = strings.Join(p, ":")
			*text = joinLines(lines)
			break
		}
	}
}
