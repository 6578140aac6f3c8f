//go:build linux

package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"
)

// inodeKeeper limits how many files of shares this kernel caches. On macOS, the host holds
// each of them open. On Linux, its file server keeps memory for each and has a limit of its
// own.
//
// The kernel caches an inode for as long as it caches the file's name, and drops names only
// under memory pressure, which may never occur. Raising vm.vfs_cache_pressure does not
// help: it only changes what is dropped first. So inodeKeeper drops all unused names. With
// their names go the inodes of FUSE and their cached data, and the host learns of it. Inodes of
// the machine's disk stay while their data is cached (since Linux 5.16). The only effect on
// programs is that names are looked up again.
type inodeKeeper struct {
	limit int
	count func() (int, error)
	drop  func() error
	log   *slog.Logger

	stuck   int       // number of inodes at a last drop that did not help; 0: it helped
	dropped time.Time // time of the last drop
}

const (
	// inodePace is the pause between two checks. The limit may be exceeded by what a tree
	// walk finds in that time.
	inodePace = time.Second
	// inodeSettle is how long to wait before counting after a drop: the kernel frees inodes
	// with a delay (RCU).
	inodeSettle = 200 * time.Millisecond
	// inodePatience is how long to wait after a drop that did not help before the next one,
	// unless the number grows: files may no longer be in use by then.
	inodePatience = time.Minute
)

// keepInodes enforces the limit for as long as the machine runs.
func keepInodes(log *slog.Logger, limit int) {
	k := inodeKeeper{limit: limit, count: countInodes, drop: dropInodes, log: log}
	k.run(context.Background())
}

// run returns when ctx ends. It logs each kind of failure only once, because a failure
// is likely to repeat at every check.
func (k *inodeKeeper) run(ctx context.Context) {
	told := map[string]bool{}
	tell := func(what string, err error) {
		if err != nil && !told[what] {
			told[what] = true
			k.log.Warn("cannot "+what+": the host may refuse to open more files", "err", err)
		}
	}
	for sleepFor(ctx, inodePace) {
		n, err := k.count()
		tell("count inodes", err)
		if err != nil || !k.due(n, time.Now()) {
			continue
		}
		tell("drop inodes", k.drop())
		sleepFor(ctx, inodeSettle)
		k.dropped, k.stuck = time.Now(), 0
		if left, err := k.count(); err != nil || left > n-n/4 {
			k.stuck = n
		}
	}
}

// due reports whether to drop at n inodes. A drop cannot free inodes in use, and costs
// every program its cached names. So a drop that freed less than a quarter is repeated only
// when there are a quarter more, or after inodePatience.
func (k *inodeKeeper) due(n int, now time.Time) bool {
	return n > k.limit && (n-k.stuck > k.stuck/4 || now.Sub(k.dropped) >= inodePatience)
}

// sleepFor waits and reports whether ctx is still alive.
func sleepFor(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// countInodes returns the number of FUSE's inodes, including virtiofs. A kernel without
// that statistic has one of all file systems, which is never smaller.
func countInodes() (int, error) {
	n, err := countIn("/proc/slabinfo", fuseInodes)
	if err == nil {
		return n, nil
	}
	n, errAll := countIn("/proc/sys/fs/inode-nr", allInodes)
	if errAll != nil {
		return 0, errors.Join(err, errAll)
	}
	return n, nil
}

func countIn(path string, parse func(io.Reader) (int, error)) (int, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n, err := parse(f)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", path, err)
	}
	return n, nil
}

// fuseInodes returns the number of objects in use in FUSE's inode cache, from slabinfo(5).
// That cache has a constructor, so it is not merged with others. fuseInodes stops reading
// there: the kernel counts each cache only when it is read.
func fuseInodes(slabinfo io.Reader) (int, error) {
	lines := bufio.NewScanner(slabinfo)
	for lines.Scan() {
		if words := strings.Fields(lines.Text()); len(words) > 1 && words[0] == "fuse_inode" {
			return number(words[1])
		}
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	return 0, errors.New("no line for fuse_inode")
}

// allInodes returns the first number of inode-nr, the number of inodes; see proc_sys_fs(5).
func allInodes(inodeNr io.Reader) (int, error) {
	var word string
	if _, err := fmt.Fscan(inodeNr, &word); err != nil {
		return 0, err
	}
	return number(word)
}

func number(word string) (int, error) {
	n, err := strconv.ParseUint(word, 10, 31)
	return int(n), err
}

// dropInodes drops unused names and inodes by writing 2 to drop_caches, see the kernel's
// documentation of vm sysctls. Writing 4 first keeps the kernel from logging each drop.
func dropInodes() error {
	for _, what := range []string{"4", "2"} {
		if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte(what), 0); err != nil {
			return err
		}
	}
	return nil
}
