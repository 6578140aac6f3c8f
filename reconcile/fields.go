package reconcile

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/size"
)

// class says how a changed field is applied to an existing machine.
type class uint8

const (
	record   class = iota // recorded in the machine's files only
	live                  // applied while the machine runs
	boot                  // applied when the machine boots
	identity              // needs another machine, with another disk
)

// field is one field of a machine that a plan compares.
type field struct {
	name  string
	class class
	text  func(s *machine.Spec) string      // equal texts are equal values
	usual string                            // the value that a plan to create a machine omits
	list  bool                              // text is a list, joined by ", "
	given bool                              // follows from the host and the image, not from the file
	loses func(from, to *machine.Spec) bool // whether the difference needs a new disk
}

// fields says for each field how a difference is applied. Plans list differences in this
// order.
var fields = []field{
	{name: "image", class: record, text: func(s *machine.Spec) string { return s.Image }},
	{name: "digest", class: identity, given: true, text: digestText},
	{name: "platform", class: identity, given: true, text: func(s *machine.Spec) string { return s.Platform.String() }},
	{name: "user", class: boot, given: true, text: func(s *machine.Spec) string { return s.User.Name }},
	{name: "user_ids", class: identity, given: true, text: func(s *machine.Spec) string { return idsText(s.User) }},
	{name: "file", class: record, given: true, text: func(s *machine.Spec) string { return s.Owner.File }},
	{
		name: "prevent_destroy", class: record, usual: "false",
		text: func(s *machine.Spec) string { return strconv.FormatBool(s.PreventDestroy) },
	},
	{name: "cpus", class: boot, text: func(s *machine.Spec) string { return strconv.Itoa(s.CPUs) }},
	{name: "memory", class: boot, text: func(s *machine.Spec) string { return size.Setting(s.Memory) }},
	{
		name: "disk", class: boot, text: func(s *machine.Spec) string { return size.Setting(s.Disk) },
		loses: func(from, to *machine.Spec) bool { return to.Disk < from.Disk },
	},
	{name: "kernel", class: boot, text: func(s *machine.Spec) string { return s.Kernel }},
	{
		name: "virtualization", class: boot, usual: "false",
		text: func(s *machine.Spec) string { return strconv.FormatBool(s.Virtualization) },
	},
	{name: "home_mount", class: boot, text: func(s *machine.Spec) string { return string(s.HomeMount) }},
	{
		name: "ssh_agent", class: record, usual: "true",
		text: func(s *machine.Spec) string { return strconv.FormatBool(!s.NoSSHAgent) },
	},
	{
		name: "services", class: live, list: true,
		text: func(s *machine.Spec) string { return strings.Join(s.Services, ", ") },
	},
}

// change returns f's difference between two machines.
func (f *field) change(from, to *machine.Spec) AttrChange {
	return AttrChange{
		Name: f.name, Old: f.text(from), New: f.text(to), List: f.list,
		ForcesReplacement: f.replaces(from, to),
	}
}

// replaces reports whether f's difference between two machines needs a new disk.
func (f *field) replaces(from, to *machine.Spec) bool {
	return f.class == identity && f.text(from) != f.text(to) || f.loses != nil && f.loses(from, to)
}

// createAttrs returns the attributes that a plan shows for a new machine.
func createAttrs(s *machine.Spec) []AttrChange {
	var attrs []AttrChange
	for _, f := range fields {
		if text := f.text(s); !f.given && text != f.usual {
			attrs = append(attrs, AttrChange{Name: f.name, New: text, List: f.list})
		}
		if f.name == "image" {
			attrs = append(attrs, outsideAttrs(s)...)
		}
	}
	return attrs
}

// Names of the attributes of a build that reads what is not the project's.
const (
	buildContext = "build context"
	dockerfile   = "dockerfile"
)

// outsideAttrs names the sources of an image that are outside of the project's directory, where
// a project that others wrote has no business without the user's approval.
func outsideAttrs(s *machine.Spec) []AttrChange {
	if s.Build == nil {
		return nil
	}
	var attrs []AttrChange
	for _, source := range []struct{ name, path string }{
		{buildContext, s.Build.OutsideContext}, {dockerfile, s.Build.OutsideDockerfile},
	} {
		if source.path != "" {
			attrs = append(attrs, AttrChange{Name: source.name, New: source.path + " (outside of the project's directory)"})
		}
	}
	return attrs
}

// digestText returns the digest, or a text that differs from every digest if there is none.
func digestText(s *machine.Spec) string {
	switch {
	case s.Digest == "" && s.Build != nil:
		return "(known after build)"
	case s.Digest == "":
		return "(known after pull)"
	}
	return s.Digest
}

func idsText(u machine.User) string { return fmt.Sprintf("%d:%d", u.UID, u.GID) }
