package reconcile

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/stead-vm/stead/config"
	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/platform"
)

// Defaults is what a project file leaves to the host.
type Defaults struct {
	Settings machine.Settings  // required: for what a machine does not set
	Platform platform.Platform // required: of the images
	User     machine.User      // required: who the machines' user is

	// Digest resolves an image reference for a platform. Required; it is asked once
	// for each of both.
	Digest func(ref string, p platform.Platform) (string, error)

	// Built tells which image the sources of a build make: its reference, and its
	// digest, empty while it is not built. Required where a machine has a build.
	Built func(b machine.Build, p platform.Platform) (reference, digest string, err error)

	// Found are the machines of this host. One whose file does not speak about its
	// disk keeps the size it has: nobody loses data by deleting a line.
	Found []machine.Machine
}

// OwnerOf is the owner of a project's machines.
func OwnerOf(p *config.Project) machine.Owner {
	return machine.Owner{Project: p.Name, File: p.File}
}

// Desired completes a project's machines with what the host adds, sorted by ID.
// Its error joins one for each machine whose image cannot be resolved.
func Desired(p *config.Project, d Defaults) ([]Goal, error) {
	answers := map[string]answer{}
	before := MovedOf(p)
	wanted := make([]Goal, 0, len(p.Machines))
	var errs []error
	for _, m := range p.Machines {
		have := d.found(m.Name, before[m.Name], OwnerOf(p))
		a := d.ask(m, have, answers)
		if a.err != nil {
			errs = append(errs, fmt.Errorf("%s: image of machine %q: %w", m.Pos, m.Name, a.err))
			continue
		}
		wanted = append(wanted, Goal{
			Spec: machine.Spec{
				ID: m.Name, Image: a.reference, Digest: cmp.Or(builtDigest(have, a), a.digest), Build: a.build,
				Platform: d.platform(m), User: d.User, Owner: OwnerOf(p),
				Settings: d.settings(m, have), PreventDestroy: m.Lifecycle.PreventDestroy,
			},
			Stopped: m.Stopped, KeepImage: m.Lifecycle.KeepImage, After: slices.Clone(m.DependsOn),
		})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return sorted(wanted, func(w Goal) string { return w.ID }), nil
}

// MovedOf are the names that a project's machines had before, by their new ones.
func MovedOf(p *config.Project) map[string]string {
	moved := map[string]string{}
	for _, m := range p.Moved {
		moved[m.To] = m.From
	}
	return moved
}

// answer is what an image means now.
type answer struct {
	reference, digest string
	build             *machine.Build
	err               error
}

// ask tells what the image of m means, asking once for machines of the same image. A
// machine that keeps its image outlasts it: nobody is asked, and no digest is told, until
// another machine is to be made of it.
func (d *Defaults) ask(m config.Machine, have *machine.Machine, answers map[string]answer) answer {
	if m.Lifecycle.KeepImage && m.Build == nil && have.Digest != "" {
		return answer{reference: m.Image}
	}
	question := fmt.Sprintf("%s %s %+v", d.platform(m), m.Image, m.Build)
	a, asked := answers[question]
	if !asked {
		a = d.image(m)
		answers[question] = a
	}
	return a
}

func (d *Defaults) image(m config.Machine) (a answer) {
	if m.Build == nil {
		a.reference = m.Image
		a.digest, a.err = d.Digest(m.Image, d.platform(m))
		return a
	}
	a.build = (*machine.Build)(m.Build)
	a.reference, a.digest, a.err = d.Built(*a.build, d.platform(m))
	return a
}

func (d *Defaults) platform(m config.Machine) platform.Platform {
	return cmp.Or(m.Platform, d.Platform)
}

// found is the machine of a name, or the owner's that had its name before and is to be
// moved, or one without anything.
func (d *Defaults) found(id, before string, owner machine.Owner) *machine.Machine {
	none := &machine.Machine{}
	for i := range d.Found {
		switch m := &d.Found[i]; {
		case m.ID == id:
			return m
		case m.ID == before && owns(owner, m):
			none = m
		}
	}
	return none
}

// builtDigest is the digest of an existing machine that was made of the same sources,
// or "". Their image may have been removed since, or built again: that is no reason to
// lose the machine.
func builtDigest(have *machine.Machine, a answer) string {
	if a.build != nil && have.Image == a.reference {
		return have.Digest
	}
	return ""
}

// settings fills in what a machine's block leaves out.
func (d *Defaults) settings(m config.Machine, have *machine.Machine) machine.Settings {
	return machine.Settings{
		CPUs:           cmp.Or(m.CPUs, d.Settings.CPUs),
		Memory:         cmp.Or(m.Memory, d.Settings.Memory),
		Disk:           cmp.Or(m.Disk, foundDisk(have), d.Settings.Disk),
		Kernel:         cmp.Or(m.Kernel, d.Settings.Kernel),
		Virtualization: m.Virtualization || d.Settings.Virtualization,
		HomeMount:      cmp.Or(machine.HomeMount(m.HomeMount), d.Settings.HomeMount),
		Services:       slices.Clone(m.Services),
	}
}

// foundDisk is the size of a machine's disk, or 0.
func foundDisk(m *machine.Machine) int64 {
	if m.Booted != nil {
		return max(m.Disk, m.Booted.Disk)
	}
	return max(m.Disk, m.DiskSize)
}
