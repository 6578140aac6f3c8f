//go:build linux

package agent

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const slabinfo = `slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>
fuse_request         104    104    152   26    1 : tunables    0    0    0 : slabdata      4      4      0
`

func TestParseInodeStatistics(t *testing.T) {
	const fuse = "fuse_inode   "
	tests := map[string]struct {
		parse func(io.Reader) (int, error)
		text  string
		want  int // -1: an error
	}{
		"objects in use, not the capacity":   {fuseInodes, slabinfo + fuse + "1234   2000    832   39    8 : tunables", 1234},
		"none":                               {fuseInodes, slabinfo + fuse + "0 0 832", 0},
		"the last line without an end":       {fuseInodes, fuse + "7", 7},
		"a kernel that never had a share":    {fuseInodes, slabinfo, -1},
		"a cache whose name begins the same": {fuseInodes, "fuse_inode_x 9 9", -1},
		"a truncated line":                   {fuseInodes, slabinfo + "fuse_inode", -1},
		"not a number":                       {fuseInodes, fuse + "many 1", -1},
		"a negative number":                  {fuseInodes, fuse + "-5 1", -1},
		"too large a number":                 {fuseInodes, fuse + "99999999999999999999 1", -1},
		"an endless line":                    {fuseInodes, strings.Repeat("x", 1<<20), -1},
		"an empty file":                      {fuseInodes, "", -1},
		"inodes of all file systems":         {allInodes, "46112\t14354\n", 46112},
		"inode-nr without a number":          {allInodes, "\x00\xff 1\n", -1},
		"inode-nr with a negative number":    {allInodes, "-1 0\n", -1},
		"inode-nr that is empty":             {allInodes, "", -1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := tt.parse(strings.NewReader(tt.text))
			if (err != nil) != (tt.want < 0) || err == nil && got != tt.want {
				t.Errorf("%d, %v, want %d", got, err, tt.want)
			}
		})
	}
}

// kernel simulates a kernel that caches the inodes that its programs have found.
type kernel struct {
	inUse, known int
	meanwhile    int // found during the next drop
	// at is what happens in the second after the key.
	at         map[int]func(*kernel)
	start      time.Time
	drops      []int // seconds
	countErr   error
	dropErr    error
	lastSecond int
}

func (k *kernel) second() int { return int(time.Since(k.start) / time.Second) }

func (k *kernel) count() (int, error) {
	for ; k.lastSecond < k.second(); k.lastSecond++ {
		if change := k.at[k.lastSecond]; change != nil {
			change(k)
		}
	}
	return k.known, k.countErr
}

func (k *kernel) drop() error {
	k.drops = append(k.drops, k.second())
	if k.dropErr == nil {
		k.known, k.meanwhile = k.inUse+k.meanwhile, 0
	}
	return k.dropErr
}

func finds(n int) func(*kernel) { return func(k *kernel) { k.known += n } }

func holds(n int) func(*kernel) {
	return func(k *kernel) { k.known, k.inUse = k.known+n, k.inUse+n }
}

func each(seconds int, change func(*kernel)) map[int]func(*kernel) {
	at := map[int]func(*kernel){}
	for s := range seconds {
		at[s] = change
	}
	return at
}

func TestInodesAreDroppedAboveTheLimitWithBackoff(t *testing.T) {
	tests := map[string]struct {
		at    map[int]func(*kernel)
		err   error // of drops
		drops []int // the seconds after which, of the first 150
	}{
		"few inodes":                    {at: each(1, finds(1000))},
		"one too many":                  {at: each(1, finds(1001)), drops: []int{1}},
		"a walk through a tree":         {at: each(8, finds(600)), drops: []int{2, 4, 6, 8}},
		"files that stay open":          {at: each(1, holds(2000)), drops: []int{1, 61, 121}},
		"files just below the limit":    {at: map[int]func(*kernel){0: holds(990), 1: finds(100), 4: finds(100), 6: finds(100)}, drops: []int{2, 62}},
		"open files, and a slow walk":   {at: map[int]func(*kernel){0: holds(2000), 9: finds(500), 19: finds(1)}, drops: []int{1, 20, 80, 140}},
		"open files that are closed":    {at: map[int]func(*kernel){0: holds(2000), 9: func(k *kernel) { k.inUse = 0 }}, drops: []int{1, 61}},
		"a kernel that refuses":         {at: each(1, finds(2000)), err: errors.New("no"), drops: []int{1, 61, 121}},
		"a walk while files stay open":  {at: map[int]func(*kernel){0: holds(900), 1: finds(100), 2: finds(100), 3: finds(100)}, drops: []int{3}},
		"a walk during a drop":          {at: each(1, func(k *kernel) { k.known, k.meanwhile = 2000, 1400 }), drops: []int{1, 2}},
		"a second walk after the first": {at: map[int]func(*kernel){0: finds(5000), 1: finds(5000)}, drops: []int{1, 2}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := &kernel{at: tt.at, start: time.Now(), dropErr: tt.err}
				keep(k, slog.New(slog.DiscardHandler))
				if !slices.Equal(k.drops, tt.drops) {
					t.Errorf("dropped after seconds %v, want %v", k.drops, tt.drops)
				}
			})
		})
	}
}

func keep(k *kernel, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), 150*time.Second)
	defer cancel()
	keeper := inodeKeeper{limit: 1000, count: k.count, drop: k.drop, log: log}
	keeper.run(ctx)
}

func TestFailureOfTheKernelIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told strings.Builder
		k := &kernel{start: time.Now(), countErr: errors.New("no statistic"), dropErr: errors.New("no right")}
		k.at = map[int]func(*kernel){
			10: func(k *kernel) { k.known, k.countErr = 2000, nil },
			90: func(k *kernel) { k.dropErr = nil },
		}
		keep(k, slog.New(slog.NewTextHandler(&told, nil)))
		for _, want := range []string{"no statistic", "no right"} {
			if n := strings.Count(told.String(), want); n != 1 {
				t.Errorf("%q was logged %d times:\n%s", want, n, told.String())
			}
		}
		if k.known != 0 {
			t.Errorf("%d inodes are left, dropped after seconds %v", k.known, k.drops)
		}
	})
}
