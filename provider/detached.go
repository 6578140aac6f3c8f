package provider

import "syscall"

// detached starts a process in a session of its own: closing the terminal or pressing
// Ctrl-C there does not reach it.
func detached() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
