package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/stead-vm/stead/provider/image"
)

// disks measures how fast an image becomes a disk. Both sides write through to the
// disk, on the same file system, from files that the page cache holds.
func (b *bench) disks() {
	size := b.unpackLayer()
	p, err := open(b.state)
	b.must(err)
	plain, err := p.Images().Import(b.ctx, "bench/plain:1", b.tar, nil)
	b.must(err)
	packed, err := p.Images().Pull(b.ctx, b.reference(), image.HostPlatform(), nil)
	b.must(err)
	convert := func(row string, img image.Image) {
		path, err := p.Images().Disk(b.ctx, img, benchDisk, nil) // fills the page cache
		b.must(err)
		b.must(os.Remove(path))
		b.run("sync") // what others have written is not our business
		b.table.add(row, byStead, timed(func() {
			_, err = p.Images().Disk(b.ctx, img, benchDisk, nil)
		}))
		b.must(err)
	}
	for range benchRounds {
		b.must(os.RemoveAll(b.path("copy")))
		b.run("sync")
		s := timed(func() { b.run("sh", "-c", "cat layer.tar > copy && sync copy") })
		b.table.add(rowPlainDisk, byHand, s)
		b.table.add(rowZstdDisk, byHand, s)
		b.freeDisks()
		convert(rowPlainDisk, plain)
		convert(rowZstdDisk, packed)
	}
	b.must(os.Remove(b.path("copy")))
	cat, _ := b.table.median(rowPlainDisk, byHand)
	fromPlain, _ := b.table.median(rowPlainDisk, byStead)
	fromZstd, _ := b.table.median(rowZstdDisk, byStead)
	b.table.add(rowWholeDisk, byStead, fromZstd)
	mb := float64(size) / 1e6
	b.note("image → disk: a tar of %.0f MB; cat %.0f MB/s, plain layer %.0f MB/s, zstd layer %.0f MB/s; fsync included everywhere",
		mb, mb/cat, mb/fromPlain, mb/fromZstd)
}

// freeDisks forgets the cached disks.
func (b *bench) freeDisks() {
	disks, err := filepath.Glob(filepath.Join(b.state, "images", "disks", "*.ext4"))
	b.must(err)
	for _, d := range disks {
		b.must(os.Remove(d))
	}
}

// reference is the image as the project file names it.
func (b *bench) reference() string {
	return "oci:" + filepath.Join(os.Getenv("STEAD_TEST_IMAGES"), "debian-systemd") + ":debian"
}

// unpackLayer writes the image's one layer to b.tar and returns its size in bytes.
func (b *bench) unpackLayer() int64 {
	index, err := layout.ImageIndexFromPath(filepath.Join(os.Getenv("STEAD_TEST_IMAGES"), "debian-systemd"))
	b.must(err)
	manifest, err := index.IndexManifest()
	b.must(err)
	img, err := index.Image(manifest.Manifests[0].Digest)
	b.must(err)
	layers, err := img.Layers()
	b.must(err)
	if len(layers) != 1 {
		b.t.Fatalf("the image has %d layers; the way by hand knows how to unpack one", len(layers))
	}
	size, err := writeLayer(b.tar, layers[0])
	b.must(err)
	return size
}

func writeLayer(path string, layer v1.Layer) (int64, error) {
	r, err := layer.Uncompressed()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(f, r)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return n, err
}

// untilRunning waits inside until systemd has started everything. It asks again and
// again, as --wait, asked right after the boot, did not come back once.
const untilRunning = `while :; do s=$(systemctl is-system-running 2>/dev/null); ` +
	`case $s in running | degraded | maintenance) echo $s; exit ;; esac; sleep 0.2; done`

// steadRound makes the machine, stops and starts it, and removes it.
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
		b.note("systemd says %q instead of running", state)
	}
}

func (b *bench) steadLatency() {
	for range benchLatencies {
		ms := 1000 * timed(func() { b.run(b.exe, "run", "true") })
		b.table.add(rowFresh, byStead, ms)
		b.table.add(rowMaster, byStead, ms)
	}
}

// steadMemory reads what the machine's processes occupy. What share servers have
// mapped of the guest's memory is QEMU's and counted there.
func (b *bench) steadMemory() {
	p, err := open(b.state)
	b.must(err)
	st, err := p.Wait(b.ctx, "dev", "")
	b.must(err)
	b.table.add(rowQEMU, byStead, b.memory(st.VMPID, "VmRSS"))
	b.table.add(rowSupervisor, byStead, b.memory(st.PID, "VmRSS"))
	b.note("supervisor: %.0f MiB of its own, the rest is pages of the program's file", b.memory(st.PID, "RssAnon"))
	shares := 0.0
	for _, pid := range children(st.PID) {
		if pid != st.VMPID {
			shares += b.memory(pid, "RssAnon") + b.memory(pid, "RssFile")
		}
	}
	b.table.add(rowShares, byStead, shares)
}

// memory is a line of proc_pid_status(5), in MiB.
func (b *bench) memory(pid int, field string) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	b.must(err)
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			kib, err := strconv.ParseFloat(strings.Fields(value)[0], 64)
			b.must(err)
			return kib / 1024
		}
	}
	b.t.Fatalf("process %d has no %s", pid, field)
	return 0
}

// children are the processes that parent has started: the fourth field of
// proc_pid_stat(5), counted behind the name, which may hold anything.
func children(parent int) []int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is sound
	var found []int
	for _, s := range stats {
		text, err := os.ReadFile(s)
		if err != nil {
			continue // it has ended meanwhile
		}
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(s)))
		if err == nil && len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			found = append(found, pid)
		}
	}
	return found
}

// noteBoot says where the time of the last boot went, as the agent has told the
// kernel's log.
func (b *bench) noteBoot() {
	for line := range strings.Lines(b.run(b.exe, "run", "--root", "dmesg")) {
		if _, steps, ok := strings.Cut(line, "steps="); ok {
			b.note("stead: %s (end of the agent's part): %s", strings.Trim(strings.Split(line, "]")[0], "[ "), strings.TrimSpace(steps))
		}
	}
	b.noteSystemd("stead", b.run(b.exe, "run", "systemd-analyze"))
}

// noteSystemd keeps the first line of systemd-analyze.
func (b *bench) noteSystemd(who, said string) {
	line, _, _ := strings.Cut(said, "\n")
	b.note("%s: %s", who, line)
}
