package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/build"
	"github.com/stead-vm/stead/provider/bundle"
	"github.com/stead-vm/stead/provider/doctor"
	"github.com/stead-vm/stead/provider/host"
	"github.com/stead-vm/stead/provider/kernel"
	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/size"
	"github.com/stead-vm/stead/provider/space"
)

const (
	leastMemory = size.GiB     // bytes; memory of the smallest machine
	leastSpace  = 2 * size.GiB // bytes; an image and its disk rarely need less
)

// Examine checks whether machines can run on this host, and how well. It changes no machine.
// It may create the state directory and the cached result of the accelerator's test, as every
// command does.
func Examine(ctx context.Context, o Options) []doctor.Finding {
	findings := []doctor.Finding{examineSystem(), examineState(o.Home)}
	p, err := New(o)
	switch {
	case findings[1].Verdict == doctor.Bad: // the state directory is unusable, which explains the error
		if err == nil { // but it can be read
			findings = append(findings, p.examineMachines(ctx)...)
		}
	case err != nil:
		findings = append(findings, doctor.Problem("hypervisor", doctor.Bad, err))
	default:
		findings = append(findings, p.examine(ctx)...)
	}
	return append(findings, examineUser(host.User()), examineHome(), examineBuilder(ctx, o.Builder))
}

// examine returns the findings that need a provider.
func (p *Provider) examine(ctx context.Context) []doctor.Finding {
	findings := p.Loader.Driver.Examine(ctx)
	archs := []string{runtime.GOARCH}
	if caps, err := p.Loader.Driver.Capabilities(ctx); err == nil {
		archs = caps.Archs
	}
	findings = append(findings, p.examineAgents(archs), p.examineKernel(archs[0]))
	findings = append(findings, p.examineMachines(ctx)...)
	if err := host.CheckRunDirs(p.Bundles.Home()); err != nil {
		f := doctor.Problem("run directory", doctor.Bad, err)
		f.Remedy = "remove it: another user created it or opened its permissions"
		findings = append(findings, f)
	}
	return findings
}

// examineMachines reports the machines that cannot run, or go on, as they are.
func (p *Provider) examineMachines(ctx context.Context) (findings []doctor.Finding) {
	machines, err := p.Machines.List(ctx)
	if err != nil {
		return []doctor.Finding{doctor.Problem("machines", doctor.Poor, err)}
	}
	for _, m := range machines {
		if m.Problem != "" && m.State != machine.Stopped {
			findings = append(findings, doctor.Finding{
				Topic: "machine " + m.ID, Verdict: doctor.Poor, Detail: fmt.Sprintf("%s: %s", m.State, m.Problem),
			})
		}
	}
	return findings
}

func examineSystem() doctor.Finding {
	f := doctor.Finding{Topic: "system"}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return doctor.Problem(f.Topic, doctor.Poor, os.NewSyscallError("uname", err))
	}
	available := host.AvailableMemory()
	f.Detail = fmt.Sprintf("%s %s on %s, %d processors, %s memory, %s available",
		unix.ByteSliceToString(name.Sysname[:]), unix.ByteSliceToString(name.Release[:]), runtime.GOARCH, runtime.NumCPU(),
		size.Measured(host.Memory()), size.Measured(available))
	if available < leastMemory {
		f.Verdict, f.Remedy = doctor.Poor, "stop machines or other programs: a machine needs at least 1G"
	}
	return f
}

// examineState tries to write to the state directory.
func examineState(home string) doctor.Finding {
	const topic = "state directory"
	problem := func(err error) doctor.Finding {
		f := doctor.Problem(topic, doctor.Bad, space.Explain(err, home))
		if f.Remedy == "" {
			f.Remedy = "make it a directory that you can write to, or set STEAD_HOME to another one"
		}
		return f
	}
	if err := os.MkdirAll(home, 0o700); err != nil {
		return problem(err)
	}
	shares, err := tryClone(home)
	if err != nil {
		return problem(err)
	}
	free, err := space.Free(home)
	if err != nil {
		return problem(err)
	}
	f := doctor.Finding{Topic: topic, Detail: fmt.Sprintf("%s, %s free, disks are copied (its file system cannot clone)", home, size.Measured(free))}
	if shares {
		f.Detail = fmt.Sprintf("%s, %s free, disks are cloned", home, size.Measured(free))
	}
	if free < leastSpace {
		f.Verdict, f.Remedy = doctor.Poor, (&space.FullError{}).Remedy()
	}
	return f
}

// tryClone writes a file in dir and reports whether a clone of it shares its blocks.
func tryClone(dir string) (shares bool, err error) {
	work, err := os.MkdirTemp(dir, ".trial-")
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	name := filepath.Join(work, "file")
	if err := os.WriteFile(name, make([]byte, 64<<10), 0o600); err != nil {
		return false, err
	}
	in, err := os.Open(name)
	if err != nil {
		return false, err
	}
	defer in.Close()
	return bundle.ShareBlocks(filepath.Join(work, "clone"), in)
}

// examineAgents checks for the guest agents. The first architecture is the host's.
func (p *Provider) examineAgents(archs []string) doctor.Finding {
	const topic = "agent"
	var built, missing []string
	var reason error
	for i, arch := range archs {
		_, err := p.Loader.Agent(arch)
		switch {
		case err == nil:
			built = append(built, arch)
		case i == 0:
			return doctor.Problem(topic, doctor.Bad, err)
		default:
			missing, reason = append(missing, arch), err
		}
	}
	detail := "built in for " + strings.Join(built, " and ")
	if reason == nil {
		return doctor.Finding{Topic: topic, Detail: detail}
	}
	f := doctor.Problem(topic, doctor.Poor, reason)
	f.Detail = detail + ", missing for " + strings.Join(missing, " and ")
	return f
}

func (p *Provider) examineKernel(arch string) doctor.Finding {
	const topic = "kernel"
	k, err := p.Loader.Kernels.Find(arch)
	var later *kernel.NotFetchedError
	var none *kernel.NoDefaultError
	switch {
	case err == nil:
		return doctor.Finding{Topic: topic, Detail: strings.TrimPrefix(k.Release+", "+k.Path, ", ")}
	case errors.As(err, &later):
		return doctor.Finding{Topic: topic, Detail: "downloaded for the first machine, from " + later.Archive.URL}
	case errors.As(err, &none):
		return doctor.Problem(topic, doctor.Poor, err) // machines that set kernel still run
	}
	return doctor.Problem(topic, doctor.Bad, err)
}

// examineUser reports whether machines can have the host's user under its name.
func examineUser(u machine.User) doctor.Finding {
	const topic = "user"
	if err := u.Check(); err != nil {
		return doctor.Problem(topic, doctor.Poor, err)
	}
	return doctor.Finding{Topic: topic, Detail: fmt.Sprintf("%s (user id %d, group id %d)", u.Name, u.UID, u.GID)}
}

func examineHome() doctor.Finding {
	const topic = "home directory"
	home, err := host.Home()
	if err != nil {
		return doctor.Problem(topic, doctor.Poor, err)
	}
	return doctor.Finding{Topic: topic, Detail: home}
}

func examineBuilder(ctx context.Context, want string) doctor.Finding {
	const topic = "image builder"
	engine, err := build.Find(ctx, want)
	if err != nil {
		f := doctor.Problem(topic, doctor.Poor, err)
		f.Remedy += "; only machines with a build block need it"
		return f
	}
	return doctor.Finding{Topic: topic, Detail: engine.String()}
}
