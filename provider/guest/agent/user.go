//go:build linux

package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/guest/agent/account"
)

// createUserScript creates the user, if the image has it. Apple's container machine defines
// the script and its CONTAINER_* variables.
const createUserScript = "/etc/machine/create-user.sh"

// scriptDeadline bounds createUserScript, which blocks the boot.
const scriptDeadline = 5 * time.Minute

// ensureUser creates the machine's user. It runs at each boot and changes nothing if the
// user is already set up.
func ensureUser(conf guest.Boot) error {
	if conf.User.UID == 0 {
		return nil // root exists in every image
	}
	want := account.User{
		Name: conf.User.Name, UID: conf.User.UID, GID: conf.User.GID,
		Home: "/home/" + conf.User.Name, Shell: defaultShell("/"),
	}
	if scripted() {
		return runCreateUserScript(conf, want)
	}
	_, err := writeAccount("/", want)
	return err
}

// scripted reports whether the image makes the user itself.
func scripted() bool {
	info, err := os.Stat(createUserScript)
	return err == nil && info.Mode()&0o111 != 0
}

// equipUser gives the user what the machine can do without: a home on its own disk, and the right
// to become root. An image that makes the user itself decides about both.
func equipUser(conf guest.Boot) error {
	if conf.User.UID == 0 || scripted() {
		return nil
	}
	u, ok := account.NewDB("/etc").ByName(conf.User.Name)
	if !ok {
		return nil // ensureUser has said why
	}
	return errors.Join(ensureHome("/", u), grantSudo("/etc", u.Name))
}

// writeAccount edits the user database of root and returns the resulting account. If the image's
// account had other ids, its files on the machine's disk follow.
func writeAccount(root string, want account.User) (account.User, error) {
	etc := filepath.Join(root, "etc")
	have, err := readAccounts(etc)
	if err != nil {
		return want, err
	}
	then, u, err := have.Ensure(want)
	if err != nil {
		return want, err
	}
	// The files come first: a boot that is interrupted here begins again.
	if err := renumber(root, have.Renumbered(then)); err != nil {
		return want, err
	}
	return u, writeAccounts(etc, then)
}

// accountFile is a file of the user database.
type accountFile struct {
	name string
	text *string
	mode os.FileMode
}

// accountFiles returns the files of f, passwd last, so that an account in it is complete.
func accountFiles(f *account.Files) []accountFile {
	return []accountFile{{"group", &f.Group, 0o644}, {"gshadow", &f.GShadow, 0o640}, {"shadow", &f.Shadow, 0o640}, {"passwd", &f.Passwd, 0o644}}
}

func readAccounts(etc string) (f account.Files, err error) {
	for _, file := range accountFiles(&f) {
		if *file.text, err = readOptional(filepath.Join(etc, file.name)); err != nil {
			return f, err
		}
	}
	return f, nil
}

func writeAccounts(etc string, f account.Files) error {
	for _, file := range accountFiles(&f) {
		if *file.text == "" {
			continue
		}
		if err := replaceFile(filepath.Join(etc, file.name), *file.text, file.mode); err != nil {
			return err
		}
	}
	return nil
}

// memberships is the record of the groups that the agent has made a user a member of.
type memberships struct {
	User string `json:"user"`
	GIDs []int  `json:"gids"`
}

// ensureGroups makes the user a member of the host's groups, and ends the memberships of an earlier
// boot that the user does not have there any more. record is a file on the machine's disk.
func ensureGroups(etc, record string, conf guest.Boot) error {
	if conf.User.UID == 0 {
		return nil
	}
	var had memberships
	text, err := readOptional(record)
	if err != nil {
		return err
	}
	_ = json.Unmarshal([]byte(text), &had) // if it is damaged, memberships last
	have, err := readAccounts(etc)
	if err != nil {
		return err
	}
	now := have
	if had.User != conf.User.Name {
		now, _ = now.EnsureGroups(had.User, nil, had.GIDs)
		had = memberships{User: conf.User.Name}
	}
	var want []account.Group
	for _, g := range conf.Groups {
		want = append(want, account.Group{Name: g.Name, GID: g.GID})
	}
	now, had.GIDs = now.EnsureGroups(conf.User.Name, want, had.GIDs)
	if now == have {
		return nil
	}
	mark, err := json.Marshal(had)
	if err != nil {
		return err
	}
	// The record comes first, so that no membership lasts because a boot was interrupted.
	if err := replaceFile(record, string(mark)+"\n", 0o644); err != nil {
		return err
	}
	return writeAccounts(etc, now)
}

// grantSudo lets the user become root without a password. It creates the directory even if
// sudo is not installed, because it may be installed later.
func grantSudo(etc, name string) error {
	path := filepath.Join(etc, "sudoers.d", strings.ReplaceAll(name, ".", "_"))
	_, err := agentFiles.write(path, name+" ALL=(ALL) NOPASSWD:ALL\n", 0o440)
	return err
}

// runCreateUserScript runs the image's createUserScript, once for each user: a record on
// the machine's disk says for which user it has run.
func runCreateUserScript(conf guest.Boot, want account.User) error {
	record := filepath.Join(stateDir, "user.json")
	mark, err := json.Marshal(conf.User)
	if err != nil {
		return err
	}
	if done, _ := readOptional(record); strings.TrimSpace(done) == string(mark) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), scriptDeadline)
	defer cancel()
	cmd := exec.CommandContext(ctx, createUserScript)
	cmd.Env = append(os.Environ(),
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"CONTAINER_USER="+want.Name, "CONTAINER_UID="+strconv.Itoa(want.UID), "CONTAINER_GID="+strconv.Itoa(want.GID),
		"CONTAINER_HOME="+want.Home, "CONTAINER_MACHINE_ID="+conf.Hostname, "CONTAINER_SHELL="+want.Shell)
	cmd.Dir = "/"
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return fmt.Errorf("the image's %s failed (%w): %s", createUserScript, err, strings.TrimSpace(string(out)))
	}
	if u, ok := account.NewDB("/etc").ByName(want.Name); !ok || u.UID != want.UID {
		return fmt.Errorf("the image's %s did not create the user %s with uid %d: %s", createUserScript, want.Name, want.UID, strings.TrimSpace(string(out)))
	}
	return replaceFile(record, string(mark)+"\n", 0o644)
}

// defaultShell returns the shell for new users of the image at root: adduser's if the image
// has adduser, otherwise useradd's. The default of adduser is bash.
func defaultShell(root string) string {
	usable := func(shell string) bool {
		info, err := os.Stat(filepath.Join(root, shell))
		return shell != "" && err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
	}
	if text, err := os.ReadFile(filepath.Join(root, "etc/adduser.conf")); err == nil {
		if shell := setting(string(text), "DSHELL"); usable(shell) {
			return shell
		}
	} else if text, err := os.ReadFile(filepath.Join(root, "etc/default/useradd")); err == nil {
		if shell := setting(string(text), "SHELL"); usable(shell) {
			return shell
		}
	}
	if usable("/bin/bash") {
		return "/bin/bash"
	}
	return "/bin/sh"
}

// setting returns the value of a shell-like assignment. The last one counts.
func setting(text, key string) string {
	value := ""
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), key+"="); ok {
			value = strings.Trim(strings.TrimSpace(v), `"'`)
		}
	}
	return value
}
