//go:build linux

package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/guest/agent/initsys"
	"github.com/stead-vm/stead/provider/guest/agent/lease"
)

// Paths of the agent in a running machine. They are on a tmpfs: nothing of a boot
// stays on the machine's disk.
const (
	runDir       = "/run/stead"
	handoverPath = runDir + "/boot.json"
)

// programPath starts the agent anew. The file itself is gone with the initramfs; the
// kernel keeps what runs from it, which saves a copy at each boot.
const programPath = "/proc/self/exe"

// stateDir is on the machine's own disk.
const stateDir = "/var/lib/stead"

// handover is what the daemon learns from process 1.
type handover struct {
	Boot guest.Boot   `json:"boot"`
	Init initsys.Init `json:"init"`
	// Lease is what Boot.Network comes from, where a DHCP server was asked.
	Lease lease.Lease `json:"lease"`
	// Problem is what went wrong with a machine that could boot nonetheless.
	Problem string `json:"problem,omitempty"`
}

// boot is process 1 on its way to the image's init.
type boot struct {
	log      *slog.Logger
	handover handover

	mu       sync.Mutex
	steps    []string // "name time", for one line in the log: the kernel's is rate-limited
	problems []error
}

// runBoot never returns: process 1 becomes the image's init, or serves the reason why
// it cannot.
func runBoot() {
	b := &boot{log: newLog()}
	err := b.guarded()
	b.log.Error("boot failed", "error", err)
	serveFailure(b.log, err)
}

// guarded turns a panic into an error: that of process 1 would be the kernel's, and
// the host would learn nothing.
func (b *boot) guarded() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the agent panicked: %v\n%s", p, debug.Stack())
		}
	}()
	return b.run()
}

func (b *boot) run() error {
	if err := mountAll(earlyMounts, ""); err != nil {
		return err
	}
	openConsole()
	var err error
	if b.handover.Boot, err = readBoot(guest.BootPath); err != nil {
		return errors.Join(err, loadModules(b.log, guest.ModulesDir)) // the port to tell it through is a module
	}
	if b.handover.Boot.Probe {
		if err := loadModules(b.log, guest.ModulesDir); err != nil {
			return err
		}
		serveProbe(b.log)
	}
	// The host wrote that time before the kernel booted: it can only be too early. A
	// clock without hardware behind it starts in 1970.
	if b.handover.Boot.Time.After(time.Now()) {
		setClock(b.log, b.handover.Boot.Time)
	}
	// Drivers take long to start and need only one processor: all that can be done
	// without them is done meanwhile.
	var modules errgroup.Group
	modules.Go(func() error {
		return b.step("modules", func() error { return loadModules(b.log, guest.ModulesDir) })
	})
	mounted := b.step("root", mountRoot)
	if err := errors.Join(modules.Wait(), mounted); err != nil {
		return err
	}
	if err := b.step("switch", switchRoot); err != nil {
		return err
	}
	b.configure()
	return b.start()
}

// configure does all that the machine could also boot without: what fails is told to
// the host, and the machine is there to be looked at.
func (b *boot) configure() {
	conf := b.handover.Boot
	b.handover.Init = initsys.Detect("/")
	var wg sync.WaitGroup
	wg.Go(func() {
		b.try("network", func() error { return b.handover.setUpNetwork(b.log) })
		b.try("names", func() error { return writeNames(b.handover.Boot) }) // with the address
	})
	if conf.Rosetta {
		b.try("translator", translate)
	}
	b.try("shares", func() error { return mountShares(conf.Mounts) })
	b.try("user", func() error { return ensureUser(conf) })
	if conf.Nested {
		b.try("kvm", func() error { return ensureKVM(b.log) })
	}
	if b.handover.Init.PID1 == initsys.Systemd {
		b.try("systemd", prepareSystemd)
	}
	raiseFileLimit()
	wg.Wait()
	if err := errors.Join(b.problems...); err != nil {
		b.handover.Problem = strings.ReplaceAll(err.Error(), "\n", "; ")
		b.log.Error("this machine cannot become ready", "error", b.handover.Problem)
	}
}

func (b *boot) try(name string, do func() error) {
	if err := b.step(name, do); err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.problems = append(b.problems, err)
	}
}

func (b *boot) step(name string, do func() error) error {
	start := time.Now()
	err := do()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.steps = append(b.steps, fmt.Sprintf("%s %dms", name, time.Since(start).Milliseconds()))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// start runs the daemon and becomes the image's init.
func (b *boot) start() error {
	text, err := json.Marshal(b.handover)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(runDir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(handoverPath, text, 0o600); err != nil {
		return fmt.Errorf("hand over to the daemon: %w", err)
	}
	started, err := startDaemon()
	if err != nil {
		return err
	}
	b.log.Info("boot", "steps", strings.Join(b.steps, ", "), "init", b.handover.Init.Kind)
	path, args := b.handover.Init.Path, []string{"/sbin/init"}
	if b.handover.Init.Kind == initsys.Agent {
		path, args = programPath, []string{"stead-init", partInit}
	}
	err = fmt.Errorf("execute %s: %w", path, syscall.Exec(path, args, initEnvironment()))
	// The daemon holds the port to the host by now: it is the one to tell.
	_, _ = started.WriteString(err.Error())
	started.Close()
	b.log.Error("boot failed", "error", err)
	reap(nil)
	return nil
}

// initEnvironment makes systemd take its container path: it starts no serial getty
// and waits for no udev devices, which container images do not have.
func initEnvironment() []string {
	return []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=linux", "HOME=/",
		"container=stead", "NOTIFY_SOCKET=" + initsys.NotifySocket,
	}
}

// readBoot reads the settings of this start.
func readBoot(path string) (guest.Boot, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return guest.Boot{}, fmt.Errorf("read this boot's settings: %w", err)
	}
	return parseBoot(text)
}

func parseBoot(text []byte) (guest.Boot, error) {
	var conf guest.Boot
	if err := json.Unmarshal(text, &conf); err != nil {
		return conf, fmt.Errorf("this boot's settings are damaged: %w", err)
	}
	for _, m := range conf.Mounts {
		if !strings.HasPrefix(m.Target, "/") || strings.ContainsRune(m.Target, 0) {
			return conf, fmt.Errorf("share %q cannot be mounted on %q: not an absolute path", m.Tag, m.Target)
		}
	}
	return conf, nil
}

// raiseFileLimit lets programs ask for as many files as systemd lets its services:
// the kernel's 4096 is not enough for what developers run. Best effort.
func raiseFileLimit() {
	limit := unix.Rlimit{Cur: 1024, Max: 512 << 10}
	_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
}
