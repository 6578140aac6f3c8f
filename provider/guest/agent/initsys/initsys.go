//go:build linux

// Package initsys knows the init systems that images bring: which one it is, how it
// starts services, and how it wants to be told to shut down.
//
// A machine keeps its image's own init, so stead asks it for things in its own
// language and passes its complaints on, instead of managing services itself.
package initsys

import (
	"os"
	"path/filepath"
	"strings"
)

// Kind is the family of an init, as guest.Status names it.
type Kind string

// Kinds of init.
const (
	Systemd  Kind = "systemd"
	OpenRC   Kind = "openrc" // OpenRC's services, whatever PID 1 is
	Busybox  Kind = "busybox"
	SysVinit Kind = "sysvinit"
	Agent    Kind = "agent" // the image has no init; the agent is a minimal one
	Unknown  Kind = "unknown"
)

// Init is the init of an image.
type Init struct {
	Kind Kind `json:"kind"`
	// PID1 is the family of the program that runs as process 1. It differs from Kind
	// where OpenRC does not bring its own.
	PID1 Kind   `json:"pid1"`
	Path string `json:"path"` // what to execute, beneath the image's root; empty for Agent
}

// candidates are where an image may have its init, the usual place first.
var candidates = []string{"/sbin/init", "/usr/sbin/init", "/etc/init", "/lib/systemd/systemd", "/usr/lib/systemd/systemd"}

// Detect finds the init of the image whose root is root.
func Detect(root string) Init {
	for _, path := range candidates {
		real, err := filepath.EvalSymlinks(filepath.Join(root, path))
		if err != nil || !executable(real) {
			continue
		}
		i := Init{PID1: family(root, real), Path: path}
		i.Kind = i.PID1
		if i.PID1 != Systemd && exists(root, "/sbin/openrc", "/usr/sbin/openrc", "/usr/bin/openrc") {
			i.Kind = OpenRC
		}
		return i
	}
	return Init{Kind: Agent, PID1: Agent}
}

func family(root, real string) Kind {
	switch base := filepath.Base(real); {
	case base == "systemd":
		return Systemd
	case base == "openrc-init":
		return OpenRC
	case strings.HasPrefix(base, "busybox"), sameFile(real, filepath.Join(root, "/bin/busybox")):
		return Busybox
	case exists(root, "/etc/inittab") && exists(root, "/sbin/telinit", "/usr/sbin/telinit"):
		return SysVinit
	default:
		return Unknown
	}
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

func exists(root string, paths ...string) bool {
	for _, p := range paths {
		if _, err := os.Stat(filepath.Join(root, p)); err == nil {
			return true
		}
	}
	return false
}

func sameFile(a, b string) bool {
	i, err1 := os.Stat(a)
	j, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(i, j)
}
