//go:build linux

package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/guest/agent/initsys"
)

// programPath starts the agent again. Its file is gone with the initramfs, but the kernel
// keeps a running program, which saves a copy at each boot.
const programPath = "/proc/self/exe"

// stateDir is on the machine's own disk.
const stateDir = "/var/lib/stead"

// boot is the state of process 1 until it becomes the image's init.
type boot struct {
	log      *slog.Logger
	handover handover
	fstab    bool // the init reads fstabPath instead of /etc/fstab

	mu       sync.Mutex
	steps    []string // "name time", logged as one line because the kernel's log is rate-limited
	problems []error
}

// runBoot does not return: process 1 becomes the image's init, or serves the reason why it
// cannot.
func runBoot() {
	b := &boot{log: newLog()}
	err := b.runGuarded()
	b.log.Error("boot failed", "err", err)
	serveFailure(b.log, err)
}

// runGuarded turns a panic into an error: a panic of process 1 would panic the kernel, and the
// host would not learn the reason.
func (b *boot) runGuarded() (err error) {
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
		return errors.Join(err, loadModules(b.log, guest.ModulesDir)) // the port that reports it needs a module
	}
	if b.handover.Boot.Probe {
		if err := loadModules(b.log, guest.ModulesDir); err != nil {
			return err
		}
		serveProbe(b.log)
	}
	// The host wrote this time before the kernel booted, so it can only be too early. A
	// clock without hardware starts in 1970.
	if b.handover.Boot.Time.After(time.Now()) {
		setClock(b.log, b.handover.Boot.Time)
	}
	// Drivers take long to start and use only one processor: do everything else meanwhile.
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

// configure runs the steps that the machine can boot without. It collects their errors for
// the host; the machine still boots, so that the user can look at it.
func (b *boot) configure() {
	conf := b.handover.Boot
	b.handover.Init = initsys.Detect("/")
	b.offer("identity", func() error { return ensureIdentity("/", conf.Machine) }) // before the names
	b.offer("links", func() error { return completeLinks("/") })
	var wg sync.WaitGroup
	wg.Go(func() {
		b.try("network", func() error { return b.handover.setUpNetwork(b.log) })
		b.offer("names", func() error { return writeNames(b.handover.Boot) }) // with the address
	})
	if conf.Rosetta {
		b.try("translator", setUpRosetta)
	}
	b.try("shares", func() error { return mountShares(conf.Mounts) })
	b.try("user", func() error { return ensureUser(conf) })
	b.offer("user's extras", func() error { return equipUser(conf) })
	b.offer("groups", func() error { return ensureGroups("/etc", filepath.Join(stateDir, "groups.json"), conf) })
	if conf.Nested {
		b.try("kvm", func() error { return ensureKVM(b.log) })
	}
	if b.handover.Init.PID1 == initsys.Systemd {
		b.offer("systemd", prepareSystemd)
		b.offer("fstab", b.prepareFstab)
	}
	raiseFileLimit()
	wg.Wait()
	if err := errors.Join(b.problems...); err != nil {
		b.handover.Problem = strings.ReplaceAll(err.Error(), "\n", "; ")
		b.log.Error("this machine cannot become ready", "err", b.handover.Problem)
	}
}

func (b *boot) prepareFstab() error {
	without, err := prepareFstab("/")
	if len(without) > 0 && err == nil {
		b.fstab = true
		b.log.Warn("lines of /etc/fstab do not count, because the machine does not have their devices", "reason", strings.Join(without, "; "))
	}
	return err
}

// offer runs a step that the machine can do without, such as its names. If it fails, the machine
// boots with a warning: a user may have made a file immutable on purpose.
func (b *boot) offer(name string, do func() error) {
	if err := b.step(name, do); err != nil {
		b.log.Warn("this machine boots without one of its settings", "err", err)
	}
}

// try runs a step that the machine needs.
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
	if err := b.handover.write(); err != nil {
		return err
	}
	started, err := startDaemon()
	if err != nil {
		return err
	}
	b.log.Info("boot", "steps", strings.Join(b.steps, ", "), "init", b.handover.Init.Kind)
	path, args, env := b.handover.Init.Path, []string{"/sbin/init"}, initEnvironment()
	if b.fstab {
		env = append(env, "SYSTEMD_FSTAB="+fstabPath)
	}
	if b.handover.Init.Kind == initsys.Agent {
		path, args = programPath, []string{"stead-init", partInit}
	}
	err = fmt.Errorf("execute %s: %w", path, syscall.Exec(path, args, env))
	// The daemon owns the port to the host by now, so it reports the error.
	_, _ = started.WriteString(err.Error())
	started.Close()
	b.log.Error("boot failed", "err", err)
	reap(nil)
	return nil
}

// initEnvironment makes systemd behave as in a container: it starts no serial getty and
// does not wait for udev devices, which container images do not have.
func initEnvironment() []string {
	return []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=linux", "HOME=/",
		"container=stead", "NOTIFY_SOCKET=" + initsys.NotifySocket,
	}
}

// readBoot reads the settings of this boot.
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
			return conf, fmt.Errorf("cannot mount share %q on %q: not an absolute path", m.Tag, m.Target)
		}
	}
	return conf, nil
}

// raiseFileLimit raises the hard limit of open files to systemd's for services: the
// kernel's 4096 is not enough for developers' programs. Best effort.
func raiseFileLimit() {
	limit := unix.Rlimit{Cur: 1024, Max: 512 << 10}
	_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
}
