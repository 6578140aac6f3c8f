package project

import (
	"context"

	"github.com/stead-vm/stead/provider/host"
	"github.com/stead-vm/stead/provider/local"
	"github.com/stead-vm/stead/provider/lock"
	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/platform"
	"github.com/stead-vm/stead/provider/transfer"
	"github.com/stead-vm/stead/reconcile"
)

// Host is where a project's machines are: this computer, or a fake in tests.
type Host interface {
	// Machines returns every machine of the host.
	Machines(ctx context.Context) ([]machine.Machine, error)
	// Defaults returns what project files leave to the host, except Found. With pull, it asks
	// registries what tags mean now.
	Defaults(ctx context.Context, owner machine.Owner, pull bool) (reconcile.Defaults, error)
	// Applied returns how the owner's last apply left its machines, by ID.
	Applied(owner machine.Owner) (map[string]machine.Baseline, error)
	// Provider returns the provider for the owner's machines. progress returns the listener for
	// a machine's downloads and the like.
	Provider(owner machine.Owner, progress func(id string) transfer.Progress) reconcile.Provider
	// AvailableMemory returns how much memory machines that boot at the same time may use, in
	// bytes.
	AvailableMemory() int64
	// SpeedWarning returns a warning to show before a machine for p starts, or "".
	SpeedWarning(ctx context.Context, p platform.Platform) (string, error)
	// WaitServices waits until the declared services of a running machine run.
	WaitServices(ctx context.Context, id string) error

	// Default returns the machine that commands without a machine name use, or "" if there is
	// none.
	Default() (string, error)
	// SetDefault makes an existing machine the default.
	SetDefault(id string) error

	// LockProject keeps other commands from changing the project until unlock.
	LockProject(ctx context.Context, file string) (unlock func(), err error)
	// LockWatch keeps other watches from following the project until unlock.
	LockWatch(ctx context.Context, file string) (unlock func(), err error)
	// ProjectHolder returns the command that holds the project's lock, if one does.
	ProjectHolder(file string) (by lock.Holder, held bool)

	// Files returns the files that change when a tag starts to mean another image.
	Files() []string
}

// Opener opens the host. It is called only once the project file, or the saved plan, could
// be read: problems of that come first, and leave nothing behind.
type Opener func() (Host, error)

// LocalHost returns this computer.
func LocalHost(p *local.Provider) Host { return localHost{p} }

type localHost struct{ local *local.Provider }

func (h localHost) Machines(ctx context.Context) ([]machine.Machine, error) {
	return h.local.Machines.List(ctx)
}

func (h localHost) Defaults(ctx context.Context, owner machine.Owner, pull bool) (reconcile.Defaults, error) {
	return reconcile.Defaults{
		Settings: host.DefaultSettings(),
		Platform: platform.Host(),
		User:     host.User(),
		Digest: func(reference string, p platform.Platform) (string, error) {
			img, err := h.local.Images.Resolve(ctx, reference, p, pull)
			return img.Digest, err
		},
		Built: func(b machine.Build, p platform.Platform) (reference, digest string, err error) {
			return h.local.BuiltImage(ctx, b, owner, p)
		},
	}, nil
}

func (h localHost) Applied(owner machine.Owner) (map[string]machine.Baseline, error) {
	return h.local.Bundles.Notes(owner).Applied()
}

func (h localHost) Provider(owner machine.Owner, progress func(id string) transfer.Progress) reconcile.Provider {
	return localProvider{h.local, owner, progress}
}

func (h localHost) AvailableMemory() int64 { return host.AvailableMemory() }

func (h localHost) SpeedWarning(ctx context.Context, p platform.Platform) (string, error) {
	return h.local.Loader.SpeedWarning(ctx, p)
}

func (h localHost) Default() (string, error)   { return h.local.Bundles.Default() }
func (h localHost) SetDefault(id string) error { return h.local.Bundles.SetDefault(id) }
func (h localHost) Files() []string            { return []string{h.local.Images.IndexFile()} }

func (h localHost) LockProject(ctx context.Context, file string) (unlock func(), err error) {
	return h.local.Bundles.Locks().Project(ctx, file)
}

func (h localHost) LockWatch(ctx context.Context, file string) (unlock func(), err error) {
	return h.local.Bundles.Locks().Watch(ctx, file)
}

func (h localHost) ProjectHolder(file string) (by lock.Holder, held bool) {
	return h.local.Bundles.Locks().ProjectHolder(file)
}

func (h localHost) WaitServices(ctx context.Context, id string) error {
	return h.local.WaitServices(ctx, id)
}

// localProvider adapts the provider to the engine, and reports its progress.
type localProvider struct {
	*local.Provider
	owner    machine.Owner
	progress func(id string) transfer.Progress
}

func (p localProvider) Create(ctx context.Context, s machine.Spec) error {
	return p.Provider.Create(ctx, s, p.progress(s.ID))
}

func (p localProvider) Replace(ctx context.Context, s machine.Spec, expect *machine.Identity) error {
	return p.Provider.Replace(ctx, s, expect, p.progress(s.ID))
}

func (p localProvider) Repair(ctx context.Context, s machine.Spec, expect *machine.Identity) error {
	return p.Provider.Repair(ctx, s, expect, p.progress(s.ID))
}

func (p localProvider) Start(ctx context.Context, id string) error {
	return p.Provider.Start(ctx, id, p.progress(id))
}

func (p localProvider) Stop(ctx context.Context, id string) error {
	return p.Provider.Stop(ctx, id, local.StopOptions{})
}

func (p localProvider) Note(_ context.Context, id string, s *machine.Spec, stopped bool) error {
	return p.Bundles.Notes(p.owner).Write(id, s, stopped)
}
