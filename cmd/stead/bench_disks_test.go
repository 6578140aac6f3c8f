package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/stead-vm/stead/provider/platform"
)

// makeDisk runs in a process of its own, started as "make-disk STATE IMAGE". It creates the disk of
// a stored image and prints the duration in seconds, and its memory.
func makeDisk() {
	seconds, memory, err := convertStored(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(seconds, memory)
}

func convertStored(state, reference string) (seconds, memory float64, err error) {
	ctx := context.Background()
	p, err := open(state)
	if err != nil {
		return 0, 0, err
	}
	img, err := p.Images.Pull(ctx, reference, platform.Host(), nil)
	if err != nil {
		return 0, 0, err
	}
	seconds = timed(func() { _, err = p.Images.Disk(ctx, img, benchDisk, nil) })
	if err != nil {
		return 0, 0, err
	}
	// The figure of wait4 would include the parent's memory.
	memory, err = memoryOf(os.Getpid(), "VmHWM")
	return seconds, memory, err
}

// convert creates the disk of an image whose blobs are in the page cache.
func (b *bench) convert(reference string) (seconds, memory float64, c cost) {
	b.freeDisks()
	b.run("sync") // exclude earlier writes
	out, c, err := b.tryTimed("make-disk", b.state, reference)
	b.must(err)
	_, err = fmt.Sscan(out, &seconds, &memory)
	b.must(err)
	return seconds, memory, c
}

// freeDisks removes the cached disks.
func (b *bench) freeDisks() {
	disks, err := filepath.Glob(filepath.Join(b.state, "images", "disks", "*.ext4"))
	b.must(err)
	for _, d := range disks {
		b.must(os.Remove(d))
	}
}

// oneLayer compares a conversion with the minimum of work: `cat` of the layer's contents. Both
// write through to the disk, on the same file system.
func (b *bench) oneLayer() {
	size := b.unpackLayer()
	p, err := open(b.state)
	b.must(err)
	const plain = "bench/plain:1"
	_, err = p.Images.Import(b.ctx, plain, b.tar, nil)
	b.must(err)
	b.convert(plain)
	b.convert(b.reference())
	for range benchRounds {
		b.must(os.RemoveAll(b.path("copy")))
		b.run("sync")
		cat := timed(func() { b.run("sh", "-c", "cat layer.tar > copy && sync copy") })
		for row, reference := range map[string]string{rowPlainDisk: plain, rowZstdDisk: b.reference()} {
			seconds, _, _ := b.convert(reference)
			b.table.add(row, byHand, cat)
			b.table.add(row, byStead, seconds)
		}
	}
	b.must(os.Remove(b.path("copy")))
	cat, _ := b.table.median(rowPlainDisk, byHand)
	fromPlain, _ := b.table.median(rowPlainDisk, byStead)
	fromZstd, _ := b.table.median(rowZstdDisk, byStead)
	mb := float64(size) / 1e6
	b.note("a tar of %.0f MB: cat %.0f MB/s, plain layer %.0f MB/s, zstd layer %.0f MB/s; fsync included everywhere",
		mb, mb/cat, mb/fromPlain, mb/fromZstd)
}

// byHandFrom are scripts that make a disk from an image layout, by compression. umoci 0.4 does
// not support zstd, so that script uses other tools.
var byHandFrom = map[string]struct{ tool, script string }{
	"gzip": {"umoci", "umoci unpack $ROOTLESS --image layers-gzip:x bundle"},
	"zstd": {"zstd", `mkdir -p bundle/rootfs && for l in $LAYERS; do
		zstd -qdc layers-zstd/blobs/sha256/$l | tar -xpf - --numeric-owner -C bundle/rootfs || exit; done`},
}

// manyLayers compares whole processes: wall time, and processor time including child processes.
func (b *bench) manyLayers() {
	for _, r := range []struct{ kind, wall, processor, memory string }{
		{"gzip", rowGzipDisk, rowGzipCPU, rowGzipMemory},
		{"zstd", rowZstdDisks, rowZstdCPU, rowZstdMemory},
	} {
		b.say("%s layers", r.kind)
		dir := b.path("layers-" + r.kind)
		layers := b.makeLayers(dir, r.kind)
		reference := "oci:" + dir + ":x"
		hand := byHandFrom[r.kind]
		_, missing := exec.LookPath(hand.tool)
		if missing != nil {
			b.note("no figures by hand for %s layers: apt-get install %s", r.kind, hand.tool)
		}
		b.convert(reference) // pulls
		for range benchRounds {
			_, memory, c := b.convert(reference)
			b.table.add(r.wall, byStead, c.wall)
			b.table.add(r.processor, byStead, c.processor)
			b.table.add(r.memory, byStead, memory)
			if missing == nil {
				c := b.diskByHand(hand.script, layers)
				b.table.add(r.wall, byHand, c.wall)
				b.table.add(r.processor, byHand, c.processor)
			}
		}
	}
}

func (b *bench) diskByHand(script string, layers []string) cost {
	rootless := ""
	if os.Getuid() != 0 {
		rootless = "--rootless"
	}
	defer os.RemoveAll(b.path("bundle"))
	defer os.Remove(b.path("by-hand.ext4"))
	b.freeDisks()
	b.run("sync")
	_, c, err := b.tryTimed("sh", "-c", fmt.Sprintf("ROOTLESS=%s; LAYERS='%s'; %s && mke2fs -q -t ext4 -d bundle/rootfs by-hand.ext4 %dM && sync by-hand.ext4",
		rootless, strings.Join(layers, " "), script, benchDisk>>20))
	b.must(err)
	return c
}

// memoryOf returns a field of proc_pid_status(5), in MiB.
func memoryOf(pid int, field string) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			kib, err := strconv.ParseFloat(strings.Fields(value)[0], 64)
			return kib / 1024, err
		}
	}
	return 0, fmt.Errorf("process %d has no %s", pid, field)
}
