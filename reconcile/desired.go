package reconcile

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/stead-vm/stead/config"
	"github.com/stead-vm/stead/provider"
)

// Defaults is what a project file leaves to the host.
type Defaults struct {
	Settings provider.Settings // required: for what a machine does not set
	Platform string            // required: "linux/amd64"
	User     provider.User     // required: who the machines' user is

	// Digest resolves an image reference for Platform. Required; it is asked once
	// for each reference.
	Digest func(ref string) (string, error)

	// Built tells which image the sources of a build make: its reference, and its
	// digest, empty while it is not built. Required where a machine has a build.
	Built func(b provider.Build) (reference, digest string, err error)

	// Found are the machines of this host. One whose file does not speak about its
	// disk keeps the size it has: nobody loses data by deleting a line.
	Found []provider.Machine
}

// OwnerOf is the owner of a project's machines.
func OwnerOf(p *config.Project) provider.Owner {
	return provider.Owner{Project: p.Name, File: p.File}
}

// Desired completes a project's machines with what the host adds, sorted by ID.
// Its error joins one for each machine whose image cannot be resolved.
func Desired(p *config.Project, d Defaults) ([]Wanted, error) {
	answers := map[string]answer{}
	wanted := make([]Wanted, 0, len(p.Machines))
	var errs []error
	for _, m := range p.Machines {
		question := fmt.Sprintf("%s %+v", m.Image, m.Build)
		a, asked := answers[question]
		if !asked {
			a = d.image(m)
			answers[question] = a
		}
		if a.err != nil {
			errs = append(errs, fmt.Errorf("%s: image of machine %q: %w", m.Pos, m.Name, a.err))
			continue
		}
		wanted = append(wanted, Wanted{
			Spec: provider.Spec{
				ID: m.Name, Image: a.reference, Digest: cmp.Or(d.builtDigest(m.Name, a), a.digest), Build: a.build,
				Platform: d.Platform, User: d.User, Owner: OwnerOf(p),
				Settings: d.settings(m), PreventDestroy: m.Lifecycle.PreventDestroy,
			},
			Stopped: m.Stopped, KeepImage: m.Lifecycle.KeepImage, After: slices.Clone(m.DependsOn),
		})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return sorted(wanted, func(w Wanted) string { return w.ID }), nil
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
	build             *provider.Build
	err               error
}

func (d *Defaults) image(m config.Machine) (a answer) {
	if m.Build == nil {
		a.reference = m.Image
		a.digest, a.err = d.Digest(m.Image)
		return a
	}
	a.build = (*provider.Build)(m.Build)
	a.reference, a.digest, a.err = d.Built(*a.build)
	return a
}

// builtDigest is the digest of an existing machine that was made of the same sources,
// or "". Their image may have been removed since, or built again: that is no reason to
// lose the machine.
func (d *Defaults) builtDigest(id string, a answer) string {
	for _, m := range d.Found {
		if a.build != nil && m.ID == id && m.Image == a.reference {
			return m.Digest
		}
	}
	return ""
}

// settings fills in what a machine's block leaves out.
func (d *Defaults) settings(m config.Machine) provider.Settings {
	return provider.Settings{
		CPUs:           cmp.Or(m.CPUs, d.Settings.CPUs),
		Memory:         cmp.Or(m.Memory, d.Settings.Memory),
		Disk:           cmp.Or(m.Disk, d.foundDisk(m.Name), d.Settings.Disk),
		Kernel:         cmp.Or(m.Kernel, d.Settings.Kernel),
		Virtualization: m.Virtualization || d.Settings.Virtualization,
		HomeMount:      cmp.Or(provider.HomeMount(m.HomeMount), d.Settings.HomeMount),
		Services:       slices.Clone(m.Services),
	}
}

// foundDisk is the size of an existing machine's disk, or 0.
func (d *Defaults) foundDisk(id string) int64 {
	for _, m := range d.Found {
		if m.ID != id {
			continue
		}
		if m.Booted != nil {
			return max(m.Disk, m.Booted.Disk)
		}
		return m.Disk
	}
	return 0
}
