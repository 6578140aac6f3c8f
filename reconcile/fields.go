package reconcile

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/size"
)

// class is what it takes to change a field of an existing machine.
type class uint8

const (
	record   class = iota // its files only: the machine itself does not depend on it
	live                  // it applies while the machine runs
	boot                  // it applies when the machine boots
	identity              // the machine is another one, with another disk
)

// field is one field of a machine that a project can want to be different.
type field struct {
	name  string
	class class
	text  func(s *machine.Spec) string // equal texts are equal values
	usual string                       // the value that is not worth a word when a machine is created
	list  bool                         // text is a list, joined by ", "
	given bool                         // it follows from the host and image, not from the file
	loses func(from, to *machine.Spec) bool
}

// fields is the one place that says what each difference means. Its order is
// the order in plans.
var fields = []field{
	{name: "image", class: record, text: func(s *machine.Spec) string { return s.Image }},
	{name: "digest", class: identity, given: true, text: digestText},
	{name: "platform", class: identity, given: true, text: func(s *machine.Spec) string { return s.Platform.String() }},
	{name: "user", class: identity, given: true, text: func(s *machine.Spec) string { return userText(s.User) }},
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
	{name: "home_mount", class: boot, usual: "rw", text: func(s *machine.Spec) string { return string(s.HomeMount) }},
	{
		name: "services", class: live, list: true,
		text: func(s *machine.Spec) string { return strings.Join(s.Services, ", ") },
	},
}

// change is f's difference between two machines.
func (f *field) change(from, to *machine.Spec) AttrChange {
	return AttrChange{
		Name: f.name, Old: f.text(from), New: f.text(to), List: f.list,
		ForcesReplacement: f.replaces(from, to),
	}
}

// replaces tells whether f's difference between two machines takes a new disk.
func (f *field) replaces(from, to *machine.Spec) bool {
	return f.class == identity && f.text(from) != f.text(to) || f.loses != nil && f.loses(from, to)
}

// created lists what is worth saying about a new machine.
func created(s *machine.Spec) []AttrChange {
	var attrs []AttrChange
	for _, f := range fields {
		if text := f.text(s); !f.given && text != f.usual {
			attrs = append(attrs, AttrChange{Name: f.name, New: text, List: f.list})
		}
	}
	return attrs
}

// digestText differs from every digest while there is none.
func digestText(s *machine.Spec) string {
	switch {
	case s.Digest == "" && s.Build != nil:
		return "(known when it is built)"
	case s.Digest == "":
		return "(known when it is pulled)"
	}
	return s.Digest
}

func userText(u machine.User) string {
	if u == (machine.User{}) {
		return ""
	}
	return fmt.Sprintf("%s (%d:%d)", u.Name, u.UID, u.GID)
}
