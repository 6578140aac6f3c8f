//go:build linux

// Package initsys supports the init systems of images: it detects which one an image has,
// enables services, and shuts the machine down.
//
// A machine runs its image's own init, so stead uses that init's tools and passes on their
// errors instead of managing services itself.
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
	OpenRC   Kind = "openrc" // OpenRC manages the services, whatever process 1 is
	Busybox  Kind = "busybox"
	SysVinit Kind = "sysvinit"
	Agent    Kind = "agent" // the image has no init; the agent is process 1
	Unknown  Kind = "unknown"
)

// Init is the init of an image.
type Init struct {
	Kind Kind `json:"kind"`
	// PID1 is the kind of the program that runs as process 1. It differs from Kind if OpenRC
	// runs on another init.
	PID1 Kind   `json:"pid1"`
	Path string `json:"path"` // the program, relative to the image's root; empty for Agent
}

// candidates are the possible paths of an image's init, the usual one first.
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
