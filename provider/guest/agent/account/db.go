//go:build linux

package account

import (
	"os"
	"path/filepath"
	"sync"
	"time"
)

// DB reads the user database of a running guest. It reads a file again only after a change.
// It is safe for concurrent use.
type DB struct {
	dir    string
	mu     sync.Mutex
	users  cached[[]User]
	groups cached[[]Group]
}

// NewDB returns a database over the files in dir, "/etc" in a guest.
func NewDB(dir string) *DB { return &DB{dir: dir} }

// ByName finds a user by name.
func (d *DB) ByName(name string) (User, bool) {
	return find(d.allUsers(), name)
}

// ByUID finds the first user with that id, whose name tools like ls show.
func (d *DB) ByUID(uid int) (User, bool) {
	for _, u := range d.allUsers() {
		if u.UID == uid {
			return u, true
		}
	}
	return User{}, false
}

// Groups lists the groups that u belongs to, its primary group first.
func (d *DB) Groups(u User) []int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return groupsOf(d.groups.get(filepath.Join(d.dir, "group"), ParseGroup), u.Name, u.GID)
}

func (d *DB) allUsers() []User {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.users.get(filepath.Join(d.dir, "passwd"), ParsePasswd)
}

// cached is a parsed file with the metadata that shows a change.
type cached[T any] struct {
	value T
	info  os.FileInfo
	read  time.Time
}

func (c *cached[T]) get(path string, parse func(string) T) T {
	info, err := os.Stat(path)
	if err != nil {
		var none T
		return none
	}
	// A file may change twice within one tick of the kernel's clock: do not trust what was
	// read right after a change.
	settled := c.info != nil && c.read.Sub(c.info.ModTime()).Abs() > 50*time.Millisecond
	if settled && os.SameFile(c.info, info) && c.info.Size() == info.Size() && c.info.ModTime().Equal(info.ModTime()) {
		return c.value
	}
	now := time.Now()
	text, err := os.ReadFile(path)
	if err != nil {
		var none T
		return none
	}
	c.value, c.info, c.read = parse(string(text)), info, now
	return c.value
}
