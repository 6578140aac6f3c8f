package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/stead-vm/stead/provider/platform"
)

// cacheDisk creates the cached disk that machines are cloned from.
func (b *bench) cacheDisk() {
	p, err := open(b.state)
	b.must(err)
	img, err := p.Images.Pull(b.ctx, b.reference(), platform.Host(), nil)
	b.must(err)
	_, err = p.Images.Disk(b.ctx, img, benchDisk, nil)
	b.must(err)
}

// reference returns the image as the project file names it.
func (b *bench) reference() string {
	return "oci:" + filepath.Join(os.Getenv("STEAD_TEST_IMAGES"), "debian-systemd") + ":debian"
}

// untilRunning waits in the guest until systemd has started everything. It polls, because
// "systemctl is-system-running --wait" right after the boot hung once.
const untilRunning = `while :; do s=$(systemctl is-system-running 2>/dev/null); ` +
	`case $s in running | degraded | maintenance) echo $s; exit ;; esac; sleep 0.2; done`

// steadRound creates the machine, stops and starts it, and removes it.
func (b *bench) steadRound(last bool) {
	clock := newClock()
	b.run(b.exe, "apply", "--auto-approve")
	b.table.add(rowReady, byStead, clock.seconds())
	b.run(b.exe, "run", "true")
	b.table.add(rowFirst, byStead, clock.seconds())
	b.systemdRuns(b.run(b.exe, "run", untilRunning))
	b.table.add(rowRunning, byStead, clock.seconds())
	b.table.add(rowStop, byStead, timed(func() { b.run(b.exe, "stop", "dev") }))

	clock = newClock()
	b.run(b.exe, "start", "dev")
	b.table.add(rowStart, byStead, clock.seconds())
	b.systemdRuns(b.run(b.exe, "run", untilRunning))
	b.table.add(rowRestarted, byStead, clock.seconds())
	if last {
		b.steadLatency()
		b.steadMemory()
		b.noteBoot()
	}
	b.run(b.exe, "destroy", "--auto-approve")
}

func (b *bench) systemdRuns(state string) {
	if state != "running" {
		b.note("systemd reports %q, not running", state)
	}
}

func (b *bench) steadLatency() {
	for range benchLatencies {
		ms := 1000 * timed(func() { b.run(b.exe, "run", "true") })
		b.table.add(rowFresh, byStead, ms)
		b.table.add(rowMaster, byStead, ms)
	}
}

// steadMemory reads the memory of the machine's processes. Guest memory that share servers map
// counts for QEMU only.
func (b *bench) steadMemory() {
	p, err := open(b.state)
	b.must(err)
	st, err := p.Machines.Supervisor("dev").Status(b.ctx, "")
	b.must(err)
	b.table.add(rowQEMU, byStead, b.memory(st.VMPID, "VmRSS"))
	b.table.add(rowSupervisor, byStead, b.memory(st.PID, "VmRSS"))
	b.note("supervisor: %.0f MiB of its own; the rest are pages of the program's file", b.memory(st.PID, "RssAnon"))
	shares := 0.0
	for _, pid := range children(st.PID) {
		if pid != st.VMPID {
			shares += b.memory(pid, "RssAnon") + b.memory(pid, "RssFile")
		}
	}
	b.table.add(rowShares, byStead, shares)
}

// memory returns a field of a running process's memory, in MiB.
func (b *bench) memory(pid int, field string) float64 {
	mib, err := memoryOf(pid, field)
	b.must(err)
	return mib
}

// children returns the child processes of parent: it is the fourth field of proc_pid_stat(5),
// counted after the name, which can contain anything.
func children(parent int) []int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is valid
	var found []int
	for _, s := range stats {
		text, err := os.ReadFile(s)
		if err != nil {
			continue // the process has ended
		}
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(s)))
		if err == nil && len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			found = append(found, pid)
		}
	}
	return found
}

// noteBoot notes where the time of the last boot went, as the agent logged it to the kernel's log.
func (b *bench) noteBoot() {
	for line := range strings.Lines(b.run(b.exe, "run", "--root", "dmesg")) {
		if _, steps, ok := strings.Cut(line, "steps="); ok {
			b.note("stead: %s (end of the agent's part): %s", strings.Trim(strings.Split(line, "]")[0], "[ "), strings.TrimSpace(steps))
		}
	}
	b.noteSystemd("stead", b.run(b.exe, "run", "systemd-analyze"))
}

// noteSystemd notes the first line of systemd-analyze.
func (b *bench) noteSystemd(who, said string) {
	line, _, _ := strings.Cut(said, "\n")
	b.note("%s: %s", who, line)
}
