package host

import (
	"context"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/stead-vm/stead/provider/machine"
)

// User returns the user that runs stead, whom machines of this host have. Its name is empty if its
// id has no account; then it has the group of the process. The environment does not count: $USER
// may be the name of somebody else.
func User() machine.User { return userOf(os.Getuid(), os.Getgid()) }

func userOf(uid, gid int) machine.User {
	u := machine.User{UID: uid, GID: gid}
	id := strconv.Itoa(uid)
	var name, group string
	if account, err := user.LookupId(id); err == nil {
		name, group = account.Username, account.Gid
	} else {
		name, group = nameService(id)
	}
	if gid, err := strconv.Atoi(group); err == nil {
		u.GID = gid
	}
	if u.Name = name; uid == 0 {
		u.Name = "root" // which may have several accounts
	}
	return u
}

// nameServiceTime bounds a look-up that may ask a server.
const nameServiceTime = 10 * time.Second

// nameService looks an account up with getent(1). A program that is linked statically, as releases
// are, only sees /etc/passwd itself, but not the accounts of LDAP and the like.
func nameService(uid string) (name, gid string) {
	ctx, cancel := context.WithTimeout(context.Background(), nameServiceTime)
	defer cancel()
	line, err := exec.CommandContext(ctx, "getent", "passwd", uid).Output()
	if err != nil {
		return "", ""
	}
	if f := strings.Split(string(line), ":"); len(f) == 7 && f[2] == uid {
		return f[0], f[3]
	}
	return "", ""
}
