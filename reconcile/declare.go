package reconcile

import (
	"fmt"

	"github.com/stead-vm/stead/config"
	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/size"
)

// Declare is the inverse of [Desired]: it returns the declaration for an existing machine,
// such that a project that adopts the machine has nothing to change. It uses Settings,
// Platform, User and Digest of the defaults. The comments, each one sentence, hold what a
// project file cannot express. The machine must not be broken: its settings are unknown.
func Declare(m machine.Machine, d Defaults) config.Declaration {
	out := config.Declaration{Machine: config.Machine{
		Name: m.ID, Image: m.Image, Kernel: m.Kernel, Virtualization: m.Virtualization, NoSSHAgent: m.NoSSHAgent, Services: m.Services,
		Stopped: !m.Active(), Lifecycle: config.Lifecycle{PreventDestroy: m.PreventDestroy},
	}}
	say := func(format string, args ...any) { out.Comments = append(out.Comments, fmt.Sprintf(format, args...)) }
	if m.Owner != (machine.Owner{}) {
		say("Belongs to project %s (%s).", m.Owner.Project, m.Owner.File)
	}
	if m.CPUs != d.Settings.CPUs {
		out.Machine.CPUs = m.CPUs
	}
	if m.HomeMount != d.Settings.HomeMount {
		out.Machine.HomeMount = string(m.HomeMount)
	}
	for _, amount := range []struct {
		name        string
		have, usual int64
		to          *int64
	}{{"memory", m.Memory, d.Settings.Memory, &out.Machine.Memory}, {"disk", foundDisk(&m), d.Settings.Disk, &out.Machine.Disk}} {
		switch {
		case amount.have == amount.usual:
		case config.Sayable(amount.have):
			*amount.to = amount.have
		default:
			say("Its %s is %s, which a project file cannot express.", amount.name, size.Setting(amount.have))
		}
	}
	if digest, err := d.Digest(m.Image, m.Platform); err != nil || digest != m.Digest {
		// The reference now means another image, or cannot be resolved. Neither may replace the
		// machine.
		out.Machine.Lifecycle.KeepImage = true
	}
	if m.Platform != d.Platform {
		out.Machine.Platform = m.Platform
	}
	switch {
	case m.User == d.User:
	case idsText(m.User) == idsText(d.User):
		out.Machine.User = m.User.Name
	default:
		say("Its user is %s (%s), but you are %s (%s): applying this file replaces the machine.",
			m.User.Name, idsText(m.User), d.User.Name, idsText(d.User))
	}
	return out
}
