package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestBenchShare compares the shared home with a directory that virtiofsd shares with a machine
// set up by hand. Both machines run at once, so that each step is measured on both sides within
// seconds. It needs the same as TestBenchDisks, and Debian's virtiofsd for the column "by hand".
func TestBenchShare(t *testing.T) {
	b := newBench(t)
	b.unpackLayer()
	guests := b.startSharing()
	b.part("files", func() { b.shareSteps(guests, "files", smallFiles) })
	b.part("big", func() { b.shareSteps(guests, "big", bigFile) })
	b.part("memory", func() { b.walkedMemory(guests) })
	b.printShare()
}

// TestBenchPrograms does the same for git and npm, which it adds to the image of both machines.
func TestBenchPrograms(t *testing.T) {
	b := newBench(t)
	b.unpackLayer()
	if err := b.addTools(); err != nil {
		t.Skipf("no git and npm in the machines: %v", err)
	}
	guests := b.startSharing()
	b.part("git", func() { b.gitStatus(guests) })
	b.part("npm", func() { b.npmInstall(guests) })
	b.printShare()
}

func (b *bench) printShare() {
	b.print("%d processors, %d MiB, %s; both machines run", benchCPUs, benchMemory>>20, b.accel)
}

// part runs a part of a benchmark that can be chosen alone, as in "make bench RUN=Share/files". It
// logs the figures so far, in case that a later part fails.
func (b *bench) part(name string, do func()) {
	whole := b.t
	whole.Run(name, func(t *testing.T) {
		b.t = t
		defer func() { b.t = whole }()
		do()
		t.Logf("so far\n\n%s", &b.table)
	})
}

// shareGuest is a running machine that shares a directory with the host.
type shareGuest struct {
	who       side
	host, dir string // the directory, on the host and in the machine
	root      func(command string) string
	server    func() []int // processes of the file server
}

// startSharing starts the machine of each side.
func (b *bench) startSharing() []*shareGuest {
	b.say("stead")
	b.run(b.exe, "apply", "--auto-approve")
	b.systemdRuns(b.run(b.exe, "run", untilRunning))
	home := b.path("home")
	guests := []*shareGuest{{
		who: byStead, host: home, dir: home, server: b.homeServers,
		root: func(command string) string { return b.run(b.exe, "run", "--root", command) },
	}}
	vm, err := b.prepareSharing()
	if err != nil {
		b.note("no figures by hand: %v", err)
		return guests
	}
	b.say("by hand")
	b.run("cp", "--sparse=always", vm.master, vm.disk)
	vm.boot()
	b.systemdRuns(vm.ssh(untilRunning))
	vm.ssh("mount -t virtiofs " + handShareTag + " /mnt")
	return append(guests, &shareGuest{who: byHand, host: vm.shared, dir: "/mnt", root: vm.ssh, server: vm.shareServers})
}

// prepareSharing creates the machine set up by hand, with a share. Its error says why that is not
// possible.
func (b *bench) prepareSharing() (*handVM, error) {
	if _, err := os.Stat(virtiofsd); err != nil {
		return nil, fmt.Errorf("no virtiofsd: %w", err)
	}
	vm, err := b.prepareHand()
	if err != nil {
		return nil, err
	}
	vm.shared = b.path("by-hand-home")
	return vm, os.Mkdir(vm.shared, 0o755)
}

// shareStep is a command of bash in the shared directory, without single quotes.
type shareStep struct {
	row, command string
	cold         bool // drop the guest's caches first
}

var smallFiles = []shareStep{
	{rowShareCreate, `mkdir d{0..9}; for f in d{0..9}/f{0..99}; do echo "$small" >$f; done`, false},
	{rowShareStat, `stat -c %s d{0..9}/f{0..99}`, true},
	{rowShareFind, `find .`, true},
	{rowShareFindStat, `find . -printf "%s %t\n"`, true},
	{rowShareRead, `cat d{0..9}/f{0..99}`, true},
	{rowShareDelete, `rm -r d{0..9}`, false},
}

var bigFile = []shareStep{
	{rowShareWrite, `dd if=/dev/zero of=big bs=1M count=256 conv=fsync status=none`, false},
	{rowShareReadBig, `dd if=big of=/dev/null bs=1M status=none`, true},
	{"", `rm big`, false},
}

// shareSteps measures the steps in a directory of the share, in each round, on both sides.
func (b *bench) shareSteps(guests []*shareGuest, dir string, steps []shareStep) {
	for _, g := range guests {
		b.must(os.MkdirAll(filepath.Join(g.host, dir), 0o755))
	}
	for round := range benchRounds {
		b.say("round %d", round+1)
		for _, s := range steps {
			// Neither side is always the first.
			for _, i := range rand.Perm(len(guests)) {
				seconds := b.shareStep(guests[i], dir, s)
				if s.row != "" {
					b.table.add(s.row, guests[i].who, seconds)
				}
			}
		}
	}
}

// shareStep measures a step inside the machine, in seconds, so that sessions do not count. Small
// programs are in memory, even if the caches have been dropped.
func (b *bench) shareStep(g *shareGuest, dir string, s shareStep) float64 {
	b.t.Helper()
	before := "sync"
	if s.cold {
		before = "sync; echo 3 >/proc/sys/vm/drop_caches; " +
			"for tool in cat dd find git stat; do $tool --version >/dev/null 2>&1 || :; done"
	}
	out := g.root(fmt.Sprintf(`cd %s/%s && bash -euc 'small=%s; %s; t=$EPOCHREALTIME; %s >/dev/null; `+
		`echo $(( ${EPOCHREALTIME/./} - ${t/./} ))'`, g.dir, dir, smallContent, before, s.command))
	micros, err := strconv.ParseFloat(out, 64)
	b.must(err)
	return micros / 1e6
}

// smallContent is what small files have.
var smallContent = strings.Repeat("x", 1023)

// homeServers returns the process that serves the home of the machine.
func (b *bench) homeServers() []int {
	p, err := open(b.state)
	b.must(err)
	st, err := p.Machines.Supervisor("dev").Status(b.ctx, "")
	b.must(err)
	var pids []int
	for _, pid := range children(st.PID) {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		b.must(err)
		if strings.Contains(string(line), "\x00--dir\x00"+b.path("home")+"\x00") {
			pids = append(pids, pid)
		}
	}
	return pids
}

const (
	virtiofsd    = "/usr/lib/qemu/virtiofsd" // of qemu-system-common, in C
	handShareTag = "home"
)

// serveShare starts virtiofsd with its default options, and returns QEMU's arguments for it.
func (vm *handVM) serveShare() []string {
	b := vm.b
	socket := b.path("virtiofsd.sock")
	vm.server = exec.CommandContext(b.ctx, virtiofsd, "--socket-path="+socket, "-o", "source="+vm.shared)
	b.must(vm.server.Start())
	b.t.Cleanup(func() {
		_ = vm.server.Process.Kill() // it may have ended already
		_ = vm.server.Wait()
	})
	for end := time.Now().Add(stepDeadline); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(socket); err == nil {
			break
		}
		if time.Now().After(end) {
			b.t.Fatal("virtiofsd does not listen")
		}
	}
	return []string{
		"-object", fmt.Sprintf("memory-backend-memfd,id=memory,share=on,size=%dM", benchMemory>>20),
		"-machine", "memory-backend=memory",
		"-chardev", "socket,id=share,path=" + socket,
		"-device", "vhost-user-fs-pci,chardev=share,queue-size=1024,tag=" + handShareTag,
	}
}

// shareServers returns the processes of virtiofsd: one waits for the other, in its sandbox.
func (vm *handVM) shareServers() []int {
	pid := vm.server.Process.Pid
	return append(children(pid), pid)
}
