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

// Defaults holds what a project file leaves to the host.
type Defaults struct {
	Settings machine.Settings  // required; for settings that a machine does not declare
	Platform platform.Platform // required; the platform of images
	User     machine.User      // required; the host's user, which machines have unless they set another name

	// Digest resolves an image reference for a platform. Required. It is called once
	// for each pair of reference and platform.
	Digest func(ref string, p platform.Platform) (string, error)

	// Built returns the image that a build makes from its current sources: its reference,
	// and its digest, which is empty if it is not built yet. Required if a machine has a build.
	Built func(b machine.Build, p platform.Platform) (reference, digest string, err error)

	// Found holds the machines of this host. A machine whose block does not set disk keeps
	// the size that it has, so that deleting that line loses no data.
	Found []machine.Machine
}

// OwnerOf returns the owner of a project's machines.
func OwnerOf(p *config.Project) machine.Owner {
	return machine.Owner{Project: p.Name, File: p.File}
}

// Desired returns a project's machines, completed with the host's defaults and sorted by
// ID. Its error joins one error for each machine whose image cannot be resolved, or whose user
// no machine can have.
func Desired(p *config.Project, d Defaults) ([]Goal, error) {
	images := map[string]resolvedImage{}
	before := MovedOf(p)
	goals := make([]Goal, 0, len(p.Machines))
	var errs []error
	for _, m := range p.Machines {
		have := d.existing(m.Name, before[m.Name], OwnerOf(p))
		user := d.user(m, have)
		if err := user.Check(); err != nil {
			errs = append(errs, fmt.Errorf("%s: user of machine %q: %w", m.Pos, m.Name, err))
			continue
		}
		img := d.resolve(m, have, images)
		if img.err != nil {
			errs = append(errs, fmt.Errorf("%s: image of machine %q: %w", m.Pos, m.Name, img.err))
			continue
		}
		goals = append(goals, Goal{
			Spec: machine.Spec{
				ID: m.Name, Image: img.reference, Digest: cmp.Or(builtDigest(have, img), img.digest), Build: img.build,
				Platform: d.platform(m), User: user, Owner: OwnerOf(p),
				Settings: d.settings(m, have), PreventDestroy: m.Lifecycle.PreventDestroy,
			},
			Stopped: m.Stopped, KeepImage: m.Lifecycle.KeepImage, After: slices.Clone(m.DependsOn),
		})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return sorted(goals, func(w Goal) string { return w.ID }), nil
}

// MovedOf returns the former names of a project's machines, by their new names.
func MovedOf(p *config.Project) map[string]string {
	moved := map[string]string{}
	for _, m := range p.Moved {
		moved[m.To] = m.From
	}
	return moved
}

// resolvedImage is the image that a machine's block means now.
type resolvedImage struct {
	reference, digest string
	build             *machine.Build
	err               error
}

// resolve returns the image of m. It resolves each image once and keeps the result in
// images. A machine with on_image_change = "keep" needs its image only when it is created or
// replaced: until then the image, which may be gone, is not resolved and has no digest.
func (d *Defaults) resolve(m config.Machine, have *machine.Machine, images map[string]resolvedImage) resolvedImage {
	if m.Lifecycle.KeepImage && m.Build == nil && have.Digest != "" {
		return resolvedImage{reference: m.Image}
	}
	key := fmt.Sprintf("%s %s %+v", d.platform(m), m.Image, m.Build)
	img, known := images[key]
	if !known {
		img = d.image(m)
		images[key] = img
	}
	return img
}

func (d *Defaults) image(m config.Machine) (img resolvedImage) {
	if m.Build == nil {
		img.reference = m.Image
		img.digest, img.err = d.Digest(m.Image, d.platform(m))
		return img
	}
	img.build = (*machine.Build)(m.Build)
	img.reference, img.digest, img.err = d.Built(*img.build, d.platform(m))
	return img
}

// user returns the host's user with the name that m sets. Without such a name, an existing machine
// keeps its user if the host's has no name that machines can have.
func (d *Defaults) user(m config.Machine, have *machine.Machine) machine.User {
	u := d.User
	u.Name = cmp.Or(m.User, u.Name)
	if m.User == "" && have.User.Name != "" && u.Check() != nil {
		u.Name = have.User.Name
	}
	return u
}

func (d *Defaults) platform(m config.Machine) platform.Platform {
	return cmp.Or(m.Platform, d.Platform)
}

// existing returns the machine named id, or else the owner's machine named before, which
// is to be moved, or else an empty machine.
func (d *Defaults) existing(id, before string, owner machine.Owner) *machine.Machine {
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

// builtDigest returns the digest of an existing machine that was created from the same
// sources, or "". If their image was removed or built again since, the machine is kept.
func builtDigest(have *machine.Machine, img resolvedImage) string {
	if img.build != nil && have.Image == img.reference {
		return have.Digest
	}
	return ""
}

// settings returns a machine's settings, with defaults for what its block omits.
func (d *Defaults) settings(m config.Machine, have *machine.Machine) machine.Settings {
	return machine.Settings{
		CPUs:           cmp.Or(m.CPUs, d.Settings.CPUs),
		Memory:         cmp.Or(m.Memory, d.Settings.Memory),
		Disk:           cmp.Or(m.Disk, foundDisk(have), d.Settings.Disk),
		Kernel:         cmp.Or(m.Kernel, d.Settings.Kernel),
		Virtualization: m.Virtualization || d.Settings.Virtualization,
		HomeMount:      cmp.Or(machine.HomeMount(m.HomeMount), d.Settings.HomeMount),
		NoSSHAgent:     m.NoSSHAgent || d.Settings.NoSSHAgent,
		Services:       slices.Clone(m.Services),
	}
}

// foundDisk returns the size of a machine's disk in bytes, or 0 if it is unknown.
func foundDisk(m *machine.Machine) int64 {
	if m.Booted != nil {
		return max(m.Disk, m.Booted.Disk)
	}
	return max(m.Disk, m.DiskSize)
}
