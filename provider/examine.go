package provider

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
	"github.com/stead-vm/stead/provider/hypervisor"
	"github.com/stead-vm/stead/provider/image"
	"github.com/stead-vm/stead/provider/kernel"
)

const (
	leastMemory = gib     // bytes; what the smallest machine has
	leastSpace  = 2 * gib // bytes; an image with its disk seldom takes less
)

// Examine looks at what decides whether machines can run on this host, and how well. It
// changes no machine, and leaves nothing behind but the state folder and a verdict about
// the accelerator, which are there after every command.
func Examine(ctx context.Context, o Options) []hypervisor.Finding {
	findings := []hypervisor.Finding{examineSystem(), examineState(o.Home)}
	p, err := New(o)
	switch {
	case findings[1].Verdict == hypervisor.Bad: // that is why
	case err != nil:
		findings = append(findings, hypervisor.Problem("hypervisor", hypervisor.Bad, err))
	default:
		findings = append(findings, p.examine(ctx)...)
	}
	return append(findings, examineHome(), examineBuilder(ctx, o.Builder))
}

// examine is about machines of this provider.
func (p *Provider) examine(ctx context.Context) []hypervisor.Finding {
	findings := p.driver.Examine(ctx)
	archs := []string{runtime.GOARCH}
	if caps, err := p.driver.Capabilities(ctx); err == nil {
		archs = caps.Archs
	}
	findings = append(findings, p.examineAgents(archs), p.examineKernel(archs[0]))
	if err := privateDir(filepath.Dir(p.runDir(""))); err != nil && !errors.Is(err, os.ErrNotExist) {
		f := hypervisor.Problem("run folder", hypervisor.Bad, err)
		f.Remedy = "somebody else has made it, or opened it: remove it"
		findings = append(findings, f)
	}
	return findings
}

func examineSystem() hypervisor.Finding {
	f := hypervisor.Finding{Topic: "system"}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return hypervisor.Problem(f.Topic, hypervisor.Poor, os.NewSyscallError("uname", err))
	}
	available := AvailableMemory()
	f.Detail = fmt.Sprintf("%s %s on %s, %d processors, %s of memory of which %s are available",
		unix.ByteSliceToString(name.Sysname[:]), unix.ByteSliceToString(name.Release[:]), runtime.GOARCH, runtime.NumCPU(),
		gibibytes(hostMemory()), gibibytes(available))
	if available < leastMemory {
		f.Verdict, f.Remedy = hypervisor.Poor, "stop machines or other programs: a machine has 1G at least"
	}
	return f
}

func gibibytes(n int64) string { return fmt.Sprintf("%.1fG", float64(n)/float64(gib)) }

// examineState tries to keep something in the state folder.
func examineState(home string) hypervisor.Finding {
	const topic = "state folder"
	problem := func(err error) hypervisor.Finding {
		f := hypervisor.Problem(topic, hypervisor.Bad, diskFull(err, home))
		if f.Remedy == "" {
			f.Remedy = "make it a folder that you can write to, or name another one: STEAD_HOME"
		}
		return f
	}
	if err := os.MkdirAll(home, 0o700); err != nil {
		return problem(err)
	}
	shares, err := trial(home)
	if err != nil {
		return problem(err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(home, &fs); err != nil {
		return problem(&os.PathError{Op: "statfs", Path: home, Err: err})
	}
	free := int64(fs.Bavail) * int64(fs.Bsize)
	f := hypervisor.Finding{Topic: topic, Detail: fmt.Sprintf("%s, %s free, disks are copied, as its file system does not clone", home, gibibytes(free))}
	if shares {
		f.Detail = fmt.Sprintf("%s, %s free, disks are cloned", home, gibibytes(free))
	}
	if free < leastSpace {
		f.Verdict, f.Remedy = hypervisor.Poor, (&image.SpaceError{}).Remedy()
	}
	return f
}

// trial writes to a folder and tells whether a copy in it shares its blocks.
func trial(dir string) (shares bool, err error) {
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
	return shareBlocks(filepath.Join(work, "clone"), in)
}

// examineAgents looks for the programs of guests. The first architecture is the host's.
func (p *Provider) examineAgents(archs []string) hypervisor.Finding {
	const topic = "agent"
	var built []string
	var missing error
	for i, arch := range archs {
		_, err := p.agent(arch)
		switch {
		case err == nil:
			built = append(built, arch)
		case i == 0:
			return hypervisor.Problem(topic, hypervisor.Bad, err)
		default:
			missing = err
		}
	}
	detail := "built in for " + strings.Join(built, " and ")
	if missing == nil {
		return hypervisor.Finding{Topic: topic, Detail: detail}
	}
	f := hypervisor.Problem(topic, hypervisor.Poor, missing)
	f.Detail = detail + ", though machines here could be for " + strings.Join(archs, " and ")
	return f
}

func (p *Provider) examineKernel(arch string) hypervisor.Finding {
	const topic = "kernel"
	k, err := p.kernels.find(arch)
	var later *kernel.NotFetchedError
	var none *kernel.NoDefaultError
	switch {
	case err == nil:
		return hypervisor.Finding{Topic: topic, Detail: strings.TrimPrefix(k.Release+", "+k.Path, ", ")}
	case errors.As(err, &later):
		return hypervisor.Finding{Topic: topic, Detail: "will be fetched for the first machine, from " + later.Archive.URL}
	case errors.As(err, &none):
		return hypervisor.Problem(topic, hypervisor.Poor, err) // machines that name one run
	}
	return hypervisor.Problem(topic, hypervisor.Bad, err)
}

func examineHome() hypervisor.Finding {
	const topic = "home folder"
	home, err := HostHome()
	if err != nil {
		return hypervisor.Problem(topic, hypervisor.Poor, err)
	}
	return hypervisor.Finding{Topic: topic, Detail: home}
}

func examineBuilder(ctx context.Context, want string) hypervisor.Finding {
	const topic = "image builder"
	engine, err := build.Find(ctx, want)
	if err != nil {
		f := hypervisor.Problem(topic, hypervisor.Poor, err)
		f.Remedy = "only machines with a build block need one; " + f.Remedy
		return f
	}
	return hypervisor.Finding{Topic: topic, Detail: engine.String()}
}
