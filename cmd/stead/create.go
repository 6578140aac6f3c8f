package main

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"

	"github.com/stead-vm/stead/provider/host"
	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/platform"
	"github.com/stead-vm/stead/provider/size"

	"github.com/spf13/cobra"

	"github.com/stead-vm/stead/provider/image"
)

// createOptions are the flags of create.
type createOptions struct {
	name, memory, disk, homeMount, kernel string
	user                                  string
	platform, arch, os                    string
	cpus                                  int
	virtualization, setDefault, noBoot    bool
	noAgent                               bool
}

func newCreateCmd(a *app) *cobra.Command {
	var o createOptions
	cmd := &cobra.Command{
		Use:   "create IMAGE",
		Short: "Create a machine from an image and boot it",
		Long: "Create a machine that belongs to no project, and boot it. IMAGE is a reference in a registry,\n" +
			"oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE, or the name of an imported image.",
		Example: "stead machine create debian:12\nstead machine create --name dev --cpus 4 --memory 8G local/dev:1",
		Args:    takesArgs(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.create(cmd.Context(), o, args[0])
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.name, "name", "", "name of the machine (default: the image's name and tag)")
	f.BoolVar(&o.setDefault, "set-default", false, "make it the default machine")
	f.BoolVar(&o.noBoot, "no-boot", false, "do not boot the machine")
	f.IntVar(&o.cpus, "cpus", host.DefaultSettings().CPUs, "number of processors")
	f.StringVar(&o.memory, "memory", "", "memory, such as 4G (default: half of the host's)")
	f.StringVar(&o.disk, "disk", "", "size of the disk; only used blocks take space on the host (default: 64G)")
	f.StringVar(&o.user, "user", "", "name of your user in the machine (default: your user name)")
	f.StringVar(&o.homeMount, "home-mount", "", "how to mount your home directory: rw, ro or none (default: rw)")
	f.BoolVar(&o.virtualization, "virtualization", false, "provide /dev/kvm in the machine")
	f.BoolVar(&o.noAgent, "no-agent", false, "never let the machine's sessions use your SSH agent")
	f.StringVar(&o.kernel, "kernel", "", "kernel to boot (default: the host's default kernel)")
	f.StringVar(&o.platform, "platform", "", "platform of the image (default: linux and the host's architecture)")
	f.StringVar(&o.arch, "arch", "", "architecture of the image")
	f.StringVar(&o.os, "os", "", "operating system of the image")
	cmd.MarkFlagsMutuallyExclusive("platform", "arch")
	cmd.MarkFlagsMutuallyExclusive("platform", "os")
	a.lockFlag(cmd)
	return cmd
}

func (a *app) create(ctx context.Context, o createOptions, reference string) error {
	p, err := a.open()
	if err != nil {
		return err
	}
	spec, err := o.spec(reference)
	if err != nil {
		return err
	}
	bars := a.newProgress()
	err = p.Create(ctx, spec, bars.event(spec.ID))
	bars.wait()
	if err != nil {
		return err
	}
	if o.setDefault {
		if err := p.Bundles.SetDefault(spec.ID); err != nil {
			return err
		}
	}
	if !o.noBoot {
		if err := a.startOne(ctx, p, spec.ID); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintln(a.out, spec.ID)
	return err
}

// imagePlatform returns the platform that the flags name, else the host's.
func (o createOptions) imagePlatform() (platform.Platform, error) {
	if o.platform != "" {
		return platform.Parse(o.platform)
	}
	return platform.Platform{OS: o.os, Architecture: o.arch}.Normal().Or(platform.Host()), nil
}

// spec returns the machine that the flags describe.
func (o createOptions) spec(reference string) (s machine.Spec, err error) {
	user := host.User()
	user.Name = cmp.Or(o.user, user.Name)
	s = machine.Spec{ID: o.name, User: user, Settings: host.DefaultSettings()}
	if s.ID == "" {
		if s.ID, err = machine.NameFor(reference); err != nil {
			return machine.Spec{}, err
		}
	}
	if s.Image, err = image.Absolute(reference); err != nil {
		return machine.Spec{}, err
	}
	if s.Platform, err = o.imagePlatform(); err != nil {
		return machine.Spec{}, err
	}
	s.CPUs = o.cpus
	if o.homeMount != "" {
		s.HomeMount = machine.HomeMount(o.homeMount)
	}
	s.Virtualization, s.NoSSHAgent = o.virtualization, o.noAgent
	if o.kernel != "" {
		if s.Kernel, err = filepath.Abs(o.kernel); err != nil {
			return machine.Spec{}, err
		}
	}
	return s, setSizes(&s.Settings, o.memory, o.disk)
}

func setSizes(s *machine.Settings, memory, disk string) (err error) {
	if memory != "" {
		if s.Memory, err = size.Parse(memory); err != nil {
			return fmt.Errorf("--memory: %w", err)
		}
	}
	if disk != "" {
		if s.Disk, err = size.Parse(disk); err != nil {
			return fmt.Errorf("--disk: %w", err)
		}
	}
	return nil
}
