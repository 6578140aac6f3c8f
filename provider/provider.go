// Package provider keeps machines on this host.
//
// A machine is a bundle: a folder with its disk, what it is (config.json) and what
// it boots with (boot-config.json). The bundle is the only state, so that a machine
// can be read, moved and repaired with the tools everybody has. Processes come and
// go; the supervisor beneath owns one running machine each.
//
// The package knows no project file and no plan: it does to one machine what it is told.
package provider

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/stead-vm/stead/provider/guest/embedded"
	"github.com/stead-vm/stead/provider/hypervisor"
	"github.com/stead-vm/stead/provider/image"
)

// Options for New.
type Options struct {
	Home      string       // required: the state folder, $STEAD_HOME
	Exe       string       // required: the stead program, re-executed as supervisor and file server
	Version   string       // of stead; recorded in what it writes
	Accel     string       // "auto" (default), "kvm" or "tcg"
	Builder   string       // program that builds images; default: the first that can
	Log       *slog.Logger // default: discard
	Transport Transport    // default: http.DefaultTransport

	Command     string        // what works, for those who wait for it, such as "stead apply"; default: "stead"
	LockTimeout time.Duration // how long another command is waited for; default: as long as it takes
}

// Provider is the machines of one state folder. It is safe for concurrent use, also
// by several processes.
type Provider struct {
	opts    Options
	log     *slog.Logger
	images  *image.Store
	driver  hypervisor.Driver
	kernels kernelSource                     // of machines that name none
	agent   func(arch string) (agent, error) // embedded.Find
}

// agent is the guest's program, as package embedded has it.
type agent interface {
	Program() ([]byte, error)
}

// New validates o, fills defaults and makes the state folder. It starts nothing.
func New(o Options) (*Provider, error) {
	if o.Home == "" || o.Exe == "" {
		return nil, errors.New("provider: Options.Home and Options.Exe are required")
	}
	home, err := filepath.Abs(o.Home)
	if err != nil {
		return nil, err
	}
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	if err := os.MkdirAll(filepath.Join(home, "machines"), 0o700); err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	// One folder has one name, however it is reached: sockets are found by it.
	if o.Home, err = filepath.EvalSymlinks(home); err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	p := &Provider{opts: o, log: o.Log, agent: func(arch string) (agent, error) { return embedded.Find(arch) }}
	if p.images, err = openImages(o); err != nil {
		return nil, err
	}
	if p.kernels, err = p.openKernels(); err != nil {
		return nil, err
	}
	if p.driver, err = p.openDriver(); err != nil {
		return nil, err
	}
	return p, nil
}

// guestProgram is the agent for guests of the architecture.
func (p *Provider) guestProgram(arch string) ([]byte, error) {
	a, err := p.agent(arch)
	if err != nil {
		return nil, err
	}
	return a.Program()
}

// Images is the store of images and cached disks.
func (p *Provider) Images() *image.Store { return p.images }

// Capabilities is what this host can run machines with.
func (p *Provider) Capabilities(ctx context.Context) (hypervisor.Capabilities, error) {
	return p.driver.Capabilities(ctx)
}

// validID is Apple's rule for machine names, which are DNS labels too.
var validID = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

// ValidID reports whether id can name a machine: a DNS label of at most 63 bytes.
func ValidID(id string) bool { return len(id) <= 63 && validID.MatchString(id) }

// InvalidIDError reports a name that no machine can have.
type InvalidIDError struct{ ID string }

func (e *InvalidIDError) Error() string { return fmt.Sprintf("%q cannot be a machine's name", e.ID) }

// Remedy says which names are allowed.
func (e *InvalidIDError) Remedy() string {
	return "use lower-case letters, digits and inner dashes, at most 63 of them"
}

// NotFoundError reports a machine that does not exist.
type NotFoundError struct{ ID string }

func (e *NotFoundError) Error() string { return fmt.Sprintf("machine %q not found", e.ID) }

// Remedy says how to see which machines exist.
func (e *NotFoundError) Remedy() string { return `"stead ls" lists the machines of this host` }
