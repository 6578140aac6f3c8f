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

// inodeKeeper keeps the files of shares that this kernel knows below a limit, where the
// host holds each of them open.
//
// The kernel knows a file for as long as it remembers the file's name, and forgets names
// only when memory gets short, which may be never. Raising vm.vfs_cache_pressure does
// not help, for it only weighs what goes first when that happens. So all names that
// nobody uses are dropped. The inodes of FUSE go with their names, their cached data too,
// and the host is told; those of the machine's disk stay while their data is in memory
// (since Linux 5.16). Programs notice nothing but that names are looked up anew.
type inodeKeeper struct {
	limit int
	count func() (int, error)
	drop  func() error
	log   *slog.Logger

	stuck   int       // how many the last drop did not help against; 0: it did
	dropped time.Time // when that was
}

const (
	// inodePace is the pause between two looks: what a tree walk can find meanwhile is
	// what may exceed the limit.
	inodePace = time.Second
	// inodeSettle is when a drop can be judged: the kernel frees a moment later (RCU).
	inodeSettle = 200 * time.Millisecond
	// inodePatience is when a drop that did not help is tried again although no more have
	// become known: what was in use may not be any longer.
	inodePatience = time.Minute
)

// keepInodes keeps the limit for as long as the machine runs.
func keepInodes(log *slog.Logger, limit int) {
	k := inodeKeeper{limit: limit, count: countInodes, drop: dropInodes, log: log}
	k.run(context.Background())
}

// run returns when ctx ends. What fails is told once: it hardly mends itself, and the
// next look is near.
func (k *inodeKeeper) run(ctx context.Context) {
	told := map[string]bool{}
	tell := func(what string, err error) {
		if err != nil && !told[what] {
			told[what] = true
			k.log.Warn("the host may run out of open files", "failed", what, "error", err)
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

// due tells whether n inodes are worth a drop. Those in use stay whatever is done, and
// dropping costs everybody his names: so one that freed less than a quarter is repeated
// only when a quarter more have come, or after a while.
func (k *inodeKeeper) due(n int, now time.Time) bool {
	return n > k.limit && (n-k.stuck > k.stuck/4 || now.Sub(k.dropped) >= inodePatience)
}

// sleepFor tells whether ctx has not ended meanwhile.
func sleepFor(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// countInodes is how many inodes of FUSE there are, virtiofs included. A kernel built
// without that statistic has one of all file systems, which is never less.
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

// fuseInodes finds the number of objects in use in the cache of FUSE's inodes. That cache
// shares its slabs with no other, for it has a constructor. The form is that of
// slabinfo(5); the rest is not read, because the kernel counts each cache as it is asked.
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

// allInodes is the first number of inode-nr, of proc_sys_fs(5): inodes that exist.
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

// dropInodes drops names and inodes that nobody uses: 2, in the kernel's documentation of
// vm sysctls. After a 4 the kernel does not note it in its log each time.
func dropInodes() error {
	for _, what := range []string{"4", "2"} {
		if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte(what), 0); err != nil {
			return err
		}
	}
	return nil
}
