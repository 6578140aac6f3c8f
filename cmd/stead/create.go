package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/stead-vm/stead/provider"
	"github.com/stead-vm/stead/provider/image"
)

// createOptions are the flags of create.
type createOptions struct {
	name, memory, disk, homeMount, kernel string
	platform, arch, os                    string
	cpus                                  int
	virtualization, setDefault, noBoot    bool
}

func newCreateCmd(a *app) *cobra.Command {
	var o createOptions
	cmd := &cobra.Command{
		Use:   "create IMAGE",
		Short: "Make a machine from an image and boot it",
		Long: "Make a machine that belongs to no project, and boot it. IMAGE is a registry's reference,\n" +
			"oci:DIR[:tag], oci-archive:FILE, docker-archive:FILE or the name of an imported image.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("cpus") {
				o.cpus = provider.DefaultSettings().CPUs
			}
			return a.create(cmd.Context(), o, args[0])
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.name, "name", "", "its name; default: the image's name and tag")
	f.BoolVar(&o.setDefault, "set-default", false, "make it the default machine")
	f.BoolVar(&o.noBoot, "no-boot", false, "do not boot it")
	f.IntVar(&o.cpus, "cpus", 0, "processors")
	f.StringVar(&o.memory, "memory", "", "memory, such as 4G")
	f.StringVar(&o.disk, "disk", "", "size of its disk, such as 64G; only what is used takes space")
	f.StringVar(&o.homeMount, "home-mount", "", "your home inside: rw, ro or none")
	f.BoolVar(&o.virtualization, "virtualization", false, "give it /dev/kvm")
	f.StringVar(&o.kernel, "kernel", "", "kernel to boot; default: that of this system")
	f.StringVar(&o.platform, "platform", "", "platform of the image, such as linux/amd64")
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
		if err := p.SetDefault(spec.ID); err != nil {
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

// spec is the machine that the flags describe.
func (o createOptions) spec(reference string) (provider.Spec, error) {
	user, err := provider.HostUser()
	if err != nil {
		return provider.Spec{}, err
	}
	s := provider.Spec{ID: o.name, User: user, Settings: provider.DefaultSettings()}
	if s.ID == "" {
		if s.ID, err = provider.NameFor(reference); err != nil {
			return provider.Spec{}, err
		}
	}
	if s.Image, err = image.Absolute(reference); err != nil {
		return provider.Spec{}, err
	}
	platform := image.HostPlatform()
	if o.arch != "" {
		platform.Architecture = o.arch
	}
	if o.os != "" {
		platform.OS = o.os
	}
	s.Platform = platform.String()
	if o.platform != "" {
		s.Platform = o.platform
	}
	s.CPUs = o.cpus
	if o.homeMount != "" {
		s.HomeMount = provider.HomeMount(o.homeMount)
	}
	s.Virtualization = o.virtualization
	if o.kernel != "" {
		if s.Kernel, err = filepath.Abs(o.kernel); err != nil {
			return provider.Spec{}, err
		}
	}
	return s, setSizes(&s.Settings, o.memory, o.disk)
}

func setSizes(s *provider.Settings, memory, disk string) (err error) {
	if memory != "" {
		if s.Memory, err = provider.ParseSize(memory); err != nil {
			return fmt.Errorf("--memory: %w", err)
		}
	}
	if disk != "" {
		if s.Disk, err = provider.ParseSize(disk); err != nil {
			return fmt.Errorf("--disk: %w", err)
		}
	}
	return nil
}
