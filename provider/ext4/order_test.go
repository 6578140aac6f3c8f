package ext4

import (
	"context"
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestOrderWithinALayerDoesNotMatter shuffles an upper layer. Its paths are distinct, and none of
// its files has entries below it.
func TestOrderWithinALayerDoesNotMatter(t *testing.T) {
	named := func(kind func(string) entry) func(string, string) entry {
		return func(name, _ string) entry { return kind(name) }
	}
	rapid.Check(t, func(t *rapid.T) {
		lower := rapid.SliceOfN(entryAt(rapid.SampledFrom([]string{"t", "t/x", "t/y", "t/d/x", "d", "d/x", "x"}), file, named(dir)), 0, 6).Draw(t, "lower")
		target := rapid.SampledFrom([]string{"t", "/t", "t/d", "../d", "missing", "x", "l"}).Draw(t, "target")
		link := rapid.SampledFrom([]string{"l", "d/l"}).Draw(t, "link")
		lower = append(lower, symlink(link, target))

		places := rapid.SampledFrom([]string{"l", "l/x", "l/y", "l/d", "l/d/x", "t", "t/x", "t/d", "d", "d/l", "d/l/x", "d/l/d/x", "x"})
		upper := rapid.SliceOfNDistinct(entryAt(places, file, named(dir), named(whiteout), named(opaque),
			func(name, _ string) entry { return symlink(name, "t") }), 2, 7, func(e entry) string { return e.Name }).Filter(consistent).Draw(t, "upper")
		other := rapid.Permutation(upper).Draw(t, "other")

		want, wantErr := merged(lower, upper)
		got, gotErr := merged(lower, other)
		if (wantErr == nil) != (gotErr == nil) {
			t.Fatalf("error %v, in the other order %v", wantErr, gotErr)
		}
		if d := cmp.Diff(want, got); d != "" && wantErr == nil {
			t.Errorf("tree, and that of the other order (-one +other):\n%s\nof %s\nand %s", d, names(upper), names(other))
		}
	})
}

// entryAt draws an entry at one of the places. Files differ in their sizes.
func entryAt(places *rapid.Generator[string], kinds ...func(name, body string) entry) *rapid.Generator[entry] {
	return rapid.Custom(func(t *rapid.T) entry {
		kind := rapid.SampledFrom(kinds).Draw(t, "kind")
		return kind(places.Draw(t, "place"), strings.Repeat("x", rapid.IntRange(1, 1000).Draw(t, "size")))
	})
}

// consistent reports whether no file has entries below it: these would be a matter of order.
func consistent(entries []entry) bool {
	for _, e := range entries {
		for _, below := range entries {
			isWhiteout := strings.HasPrefix(path.Base(below.Name), whiteoutPrefix) || strings.HasPrefix(path.Base(e.Name), whiteoutPrefix)
			if !isWhiteout && !e.FileInfo().IsDir() && strings.HasPrefix(below.Name, e.Name+"/") {
				return false
			}
		}
	}
	return true
}

func names(entries []entry) (all []string) {
	for _, e := range entries {
		all = append(all, fmt.Sprintf("%c %s", e.Typeflag, e.Name))
	}
	return all
}

// merged returns the merged tree of layers without writing a disk.
func merged(ls ...[]entry) (map[string]string, error) {
	o := Options{Size: MinSize, Digest: "d"}
	geo, err := o.geometry()
	if err != nil {
		return nil, err
	}
	w := newWriter(&fullDisk{1 << 50}, geo, o)
	for i, l := range ls {
		m := merger{tree: w.tree, content: contentWriter{space: w.space, out: w.out}, layer: uint16(i)}
		if err = m.apply(context.Background(), layerOf(l...)); err != nil {
			break
		}
	}
	if cerr := w.out.close(); err == nil {
		err = cerr
	}
	found := map[string]string{}
	w.tree.list(w.tree.root, "", found)
	return found, err
}

func (t *tree) list(dir nodeID, below string, found map[string]string) {
	for name, e := range t.folders[dir].entries {
		n, p := t.at(e.node), path.Join(below, name)
		found[p] = fmt.Sprintf("%o %d %s", n.mode, n.size, t.symlinks[e.node])
		if n.is(typeFolder) {
			t.list(e.node, p, found)
		} else if n.links != 1 {
			found[p] += fmt.Sprintf(" with %d names", n.links)
		}
	}
}
