//go:build linux

// Package oom keeps the kernel from killing the agent when the guest's memory is full, and lets
// it kill the programs that the agent starts.
//
// The kernel ranks processes by their memory and by a score, which children inherit: see
// proc_pid_oom_score_adj(5). Without the agent, what fills the memory cannot be found out.
package oom

import (
	"os"
	"os/exec"
	"strings"
	"sync"
)

const path = "/proc/self/oom_score_adj"

const (
	never    = "-1000" // the kernel never kills it
	ordinary = "0"     // as for an init and its services
)

// Protect excludes this process, and those that it starts other than by [Start], from being
// killed. Only root can do that.
func Protect() error { return os.WriteFile(path, []byte(never), 0) }

// forking is held while this process is not protected.
var forking sync.Mutex

// Start starts cmd like [exec.Cmd.Start], but does not let its program inherit the protection.
//
// Go cannot run code between fork and exec, and to change the score of the child would come too
// late for its own children. So this process has the ordinary score while it forks, which takes
// milliseconds. It is small, so that the kernel would choose others then too.
func Start(cmd *exec.Cmd) error {
	forking.Lock()
	defer forking.Unlock()
	score, err := os.ReadFile(path)
	if err != nil || strings.TrimSpace(string(score)) != never {
		return cmd.Start()
	}
	if err := os.WriteFile(path, []byte(ordinary), 0); err != nil {
		return err
	}
	defer func() { _ = Protect() }() // it could before
	return cmd.Start()
}
