package host

import (
	"os"
	"os/user"
	"slices"
	"strconv"
)

// Group is a group of this computer.
type Group struct {
	Name string // empty if the group has none
	GID  int
}

// Groups returns the groups of this process, sorted by their ids: those that decide which files it
// may use. The group database may say otherwise until the next log-in.
func Groups() ([]Group, error) {
	gids, err := os.Getgroups()
	if err != nil {
		return nil, os.NewSyscallError("getgroups", err)
	}
	gids = append(gids, os.Getgid())
	slices.Sort(gids)
	gids = slices.Compact(gids)
	groups := make([]Group, len(gids))
	for i, gid := range gids {
		groups[i].GID = gid
		if g, err := user.LookupGroupId(strconv.Itoa(gid)); err == nil {
			groups[i].Name = g.Name
		}
	}
	return groups, nil
}
