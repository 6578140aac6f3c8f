//go:build linux

package hostfs

import (
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// What the server keeps for a guest is limited, because a guest need not forget or close
// anything.
const (
	// MaxNodes is the default of [Options.MaxNodes]. A node takes about 650 bytes, with its
	// entries in go-fuse's tables.
	MaxNodes = 1 << 20
	// maxOpen is how many files and directories the guest may have open, locks included, and
	// maxDirs how many of them may be directories. For each open directory, go-fuse keeps the
	// last entries that it returned; see batch.
	maxOpen = 64 << 10
	maxDirs = 4 << 10
)

const (
	// brake is the pause before each new node when three quarters of the nodes are used. It
	// gives a guest that limits its cache (see package agent) time to forget, however fast it
	// walks through a tree.
	brake = time.Millisecond
	// collectEvery is the shortest time between two garbage collections that a guest can
	// cause, and complainEvery between two lines in the log.
	collectEvery  = time.Second
	complainEvery = time.Minute
)

// census counts the nodes in memory, for whatever reason: the guest knows them, or a child of
// them, or the garbage collector has not freed them yet.
type census struct {
	max   int64
	log   *slog.Logger
	nodes atomic.Int64

	mu         sync.Mutex // guards what follows
	collected  time.Time
	complained time.Time
}

// add counts a node until it is freed.
func (c *census) add(n *node) {
	c.nodes.Add(1)
	runtime.AddCleanup(n, func(c *census) { c.nodes.Add(-1) }, c)
}

// admit returns ENFILE if there must be no more nodes.
func (c *census) admit() error {
	if c.nodes.Load() < c.max/4*3 {
		return nil
	}
	c.collect()
	time.Sleep(brake)
	if c.nodes.Load() < c.max {
		return nil
	}
	c.complain()
	return syscall.ENFILE
}

// collect frees nodes that the guest has forgotten.
func (c *census) collect() {
	c.mu.Lock()
	due := time.Since(c.collected) >= collectEvery
	if due {
		c.collected = time.Now()
	}
	c.mu.Unlock()
	if due {
		runtime.GC()
	}
}

func (c *census) complain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.complained) < complainEvery {
		return
	}
	c.complained = time.Now()
	c.log.Warn("refusing to tell the guest about further files of the shared directory: it forgets none",
		"err", fmt.Errorf("the guest already knows %d: %w", c.max, syscall.ENFILE))
}
