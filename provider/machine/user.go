package machine

import (
	"fmt"

	"github.com/stead-vm/stead/provider/username"
)

// User is a machine's user, who has the ids of the host's user. Its name can be another one.
type User struct {
	Name     string // empty: the host has no account with that id, and no name was set
	UID, GID int
}

// Check returns a [*UserError] if no machine can have the user.
func (u User) Check() error {
	switch {
	case u.UID == 0 && (u.Name == "" || u.Name == root):
		return nil
	case u.UID == 0:
		return &UserError{User: u, Why: "you are root on this host, so that machines have no other user"}
	case u.Name == "":
		return &UserError{User: u, Why: fmt.Sprintf("your user id %d has no account on this host", u.UID)}
	case u.Name == root:
		return &UserError{User: u, Why: fmt.Sprintf("root has the user id 0 in every machine, but yours is %d", u.UID)}
	case !username.Valid(u.Name):
		return &UserError{User: u, Why: "a user name consists of " + username.Allowed}
	}
	return nil
}

// root is the name of the user with the id 0.
const root = "root"

// UserError reports a user that no machine can have.
type UserError struct {
	User User
	Why  string
}

func (e *UserError) Error() string {
	if e.User.Name == "" {
		return "the machine's user has no name: " + e.Why
	}
	return fmt.Sprintf("no machine can have the user %q: %s", e.User.Name, e.Why)
}

// Remedy says how to name the user.
func (e *UserError) Remedy() string {
	name := username.Suggest(e.User.Name)
	switch {
	case e.User.UID == 0:
		return "run stead as another user, or leave the user out"
	case name == "" || name == root:
		name = "dev"
	}
	return fmt.Sprintf(`set user = %q in the machine's block, or add --user %s to "stead machine create"`, name, name)
}
