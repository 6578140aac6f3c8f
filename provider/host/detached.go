package host

import "syscall"

// Detached makes a command start a process in a session of its own: closing the terminal or pressing
// Ctrl-C there does not reach it.
func Detached() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
