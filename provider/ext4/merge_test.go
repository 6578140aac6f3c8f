package ext4

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

type layers [][]entry

func TestMerge(t *testing.T) {
	const own, implied = "dir 0700", "dir 0755"
	tests := map[string]struct {
		layers layers
		want   map[string]string
	}{
		"an upper file replaces a lower one": {
			layers{{file("a", "old")}, {file("a", "new").owned(1000, 100)}},
			map[string]string{"a": "file 0644 1000:100 new"},
		},
		"the last of duplicate entries wins": {
			layers{{file("a", "1"), dir("a"), file("a/x", ""), symlink("a", "b"), file("a", "2")}},
			map[string]string{"a": "file 0644 2"},
		},
		"names may be absolute or begin with a dot": {
			layers{{dir("./"), file("/a", "1"), file("./b//c", "2")}},
			map[string]string{"a": "file 0644 1", "b": implied, "b/c": "file 0644 2"},
		},
		"a whiteout removes a file and a tree": {
			layers{{file("a", ""), file("b/c/d", ""), file("e", "")}, {whiteout("a"), whiteout("b")}},
			map[string]string{"e": "file 0644 "},
		},
		"a whiteout of a missing file is ignored": {
			layers{{file("a", "")}, {whiteout("b"), whiteout("c/d"), opaque("e")}},
			map[string]string{"a": "file 0644 "},
		},
		"a whiteout hides nothing of its own layer, before or after it": {
			layers{{file("a", "old"), file("b", "old")}, {file("a", "new"), whiteout("a"), whiteout("b"), file("b", "new")}},
			map[string]string{"a": "file 0644 new", "b": "file 0644 new"},
		},
		"a directory whited out and added again is empty": {
			layers{{file("a/x", ""), file("b/x", "")}, {whiteout("a"), dir("a"), dir("b"), whiteout("b")}},
			map[string]string{"a": own, "b": own},
		},
		"a file in a whited-out directory creates the directory": {
			layers{
				{dir("a"), file("a/x", ""), dir("b"), file("b/x", "")},
				{whiteout("a"), file("a/y", ""), file("b/y", ""), whiteout("b")},
			},
			map[string]string{"a": implied, "a/y": "file 0644 ", "b": implied, "b/y": "file 0644 "},
		},
		"a file is hidden by a whiteout of the next layer": {
			layers{{file("a", "1")}, {whiteout("a"), file("a", "2")}, {whiteout("a")}},
			map[string]string{},
		},
		"an opaque directory keeps what its layer adds, before or after the marker": {
			layers{
				{dir("a"), file("a/1", ""), file("a/b/2", "")},
				{dir("a"), file("a/3", ""), opaque("a"), file("a/b/4", "")},
			},
			map[string]string{"a": own, "a/3": "file 0644 ", "a/b": implied, "a/b/4": "file 0644 "},
		},
		"an opaque marker without an entry keeps the directory's mode and owner": {
			layers{{dir("a"), file("a/1", "")}, {opaque("a")}},
			map[string]string{"a": own},
		},
		"directories merge, and the upper entry describes them": {
			layers{{dir("a"), file("a/x", "")}, {folderAt("a", 0o1777).owned(1, 2), file("a/y", "")}},
			map[string]string{"a": "dir 1777 1:2", "a/x": "file 0644 ", "a/y": "file 0644 "},
		},
		"an implied directory is described later": {
			layers{{file("a/x", ""), dir("a")}},
			map[string]string{"a": own, "a/x": "file 0644 "},
		},
		"a hard link to a lower file": {
			layers{{file("a", "1")}, {hardlink("b", "a")}},
			map[string]string{"a": "file 0644 1", "b": "= a"},
		},
		"a hard link keeps the data of a replaced file": {
			layers{{file("a", "old"), hardlink("b", "a")}, {file("a", "new")}},
			map[string]string{"a": "file 0644 new", "b": "file 0644 old"},
		},
		"a hard link keeps the data of a removed file": {
			layers{{file("a", "old")}, {hardlink("b", "a"), whiteout("a")}, {hardlink("c", "b")}},
			map[string]string{"b": "file 0644 old", "c": "= b"},
		},
		"a hard link to a file that its own layer has replaced refers to the new one": {
			layers{{file("a", "old"), hardlink("b", "a")}, {file("a", "new"), hardlink("c", "a")}},
			map[string]string{"a": "file 0644 new", "b": "file 0644 old", "c": "= a"},
		},
		"a hard link may replace the directory of its target": {
			layers{{file("a/x", "1")}, {hardlink("a", "a/x")}},
			map[string]string{"a": "file 0644 1"},
		},
		"a hard link to itself changes nothing": {
			layers{{file("a", "1")}, {hardlink("a", "./a")}},
			map[string]string{"a": "file 0644 1"},
		},
		"a hard link to a symlink, through a symlink": {
			layers{{symlink("usr/l", "x"), symlink("u", "usr")}, {hardlink("m", "u/l")}},
			map[string]string{"m": "-> x", "u": "-> usr", "usr": implied, "usr/l": "= m"},
		},
		"directory, file, directory": {
			layers{{file("a/x", "")}, {file("a", "")}, {dir("a"), file("a/y", "")}},
			map[string]string{"a": own, "a/y": "file 0644 "},
		},
		"file, directory, file": {
			layers{{file("a", "1")}, {file("a/x", "")}, {file("a", "2")}},
			map[string]string{"a": "file 0644 2"},
		},
		"a symlink replaces a directory, a directory a symlink": {
			layers{
				{file("a/x", ""), dir("t"), file("t/z", ""), symlink("b", "t")},
				{symlink("a", "t"), dir("b"), file("b/y", "")},
			},
			map[string]string{"a": "-> t", "b": own, "b/y": "file 0644 ", "t": own, "t/z": "file 0644 "},
		},
		"directory, symlink, file": {
			layers{{file("a/x", ""), dir("t")}, {symlink("a", "t")}, {file("a", "3")}},
			map[string]string{"a": "file 0644 3", "t": own},
		},
		"file, symlink, directory": {
			layers{{file("a", "1"), dir("t")}, {symlink("a", "t")}, {dir("a"), file("a/x", "")}},
			map[string]string{"a": own, "a/x": "file 0644 ", "t": own},
		},
		"symlink, file, symlink": {
			layers{{symlink("a", "t"), file("t/x", "")}, {file("a", "")}, {symlink("a", "t"), file("a/y", "")}},
			map[string]string{"a": "-> t", "t": implied, "t/x": "file 0644 ", "t/y": "file 0644 "},
		},
		"symlink, directory, symlink": {
			layers{{symlink("a", "t"), dir("t")}, {dir("a"), file("a/x", "")}, {symlink("a", "t")}},
			map[string]string{"a": "-> t", "t": own},
		},
		"a whiteout of a symlink keeps its target": {
			layers{{dir("t"), file("t/x", ""), symlink("a", "t")}, {whiteout("a")}},
			map[string]string{"t": own, "t/x": "file 0644 "},
		},
		"an opaque directory may be marked at the end, and twice": {
			layers{{file("a/1", ""), file("a/b/1", "")}, {opaque("a"), file("a/b/2", ""), file("a/3", ""), opaque("a")}},
			map[string]string{"a": implied, "a/3": "file 0644 ", "a/b": implied, "a/b/2": "file 0644 "},
		},
		"entries below a symlinked directory go where it leads": {
			layers{
				{dir("usr/lib"), symlink("lib", "usr/lib"), symlink("abs", "/lib"), file("usr/lib/old", "")},
				{file("lib/x", "1"), file("abs/y", "2"), folderAt("abs/d", 0o711), hardlink("lib/z", "lib/x"), hardlink("w", "usr/lib/y")},
			},
			map[string]string{
				"abs": "-> /lib", "lib": "-> usr/lib", "usr": implied, "usr/lib": own, "usr/lib/old": "file 0644 ", "usr/lib/d": "dir 0711",
				"usr/lib/x": "file 0644 1", "usr/lib/y": "= w", "usr/lib/z": "= usr/lib/x", "w": "file 0644 2",
			},
		},
		"a whiteout below a symlinked directory hides nothing of its target": {
			layers{{dir("t"), file("t/x", ""), symlink("l", "t")}, {whiteout("l/x"), opaque("l/x"), file("l/y", "")}},
			map[string]string{"l": "-> t", "t": own, "t/x": "file 0644 ", "t/y": "file 0644 "},
		},
		"an opaque marker makes a directory of a symlink, and its target keeps everything": {
			layers{{dir("t"), file("t/x", "1"), symlink("l", "t")}, {file("l/x", "2"), opaque("l"), file("l/y", "")}},
			map[string]string{"l": implied, "l/x": "file 0644 2", "l/y": "file 0644 ", "t": own, "t/x": "file 0644 1"},
		},
		"a directory in place of a symlink, after its marker, its whiteouts and its entries": {
			layers{
				{dir("t"), file("t/x", "1"), file("t/y", "2"), symlink("l", "t"), symlink("m", "t")},
				{opaque("l"), file("l/x", "3"), dir("l"), whiteout("m/x"), file("m/y", "4"), hardlink("m/z", "m/y"), dir("m")},
			},
			map[string]string{
				"l": own, "l/x": "file 0644 3", "m": own, "m/y": "file 0644 4", "m/z": "= m/y",
				"t": own, "t/x": "file 0644 1", "t/y": "file 0644 2",
			},
		},
		"entries below a symlink that the layer removes afterwards": {
			layers{{dir("t"), symlink("l", "t")}, {file("l/x", "1"), whiteout("l")}},
			map[string]string{"l": implied, "l/x": "file 0644 1", "t": own},
		},
		"a hard link to a file below a dangling symlink": {
			layers{{symlink("run", "/var/run")}, {file("run/x", ""), hardlink("run/y", "run/x"), hardlink("z", "run/x")}},
			map[string]string{"run": "-> /var/run", "var": implied, "var/run": implied, "var/run/x": "= z", "var/run/y": "= z", "z": "file 0644 "},
		},
		"no symlink leads out of the image": {
			layers{{dir("etc"), symlink("a/b", "../../../../etc")}, {file("a/b/x", "")}},
			map[string]string{"a": implied, "a/b": "-> ../../../../etc", "etc": own, "etc/x": "file 0644 "},
		},
		"the target of a dangling symlink is created": {
			layers{{symlink("run", "/var/run")}, {file("run/x", "")}},
			map[string]string{"run": "-> /var/run", "var": implied, "var/run": implied, "var/run/x": "file 0644 "},
		},
		"private names of aufs are skipped": {
			layers{{file(".wh..wh.aufs", ""), dir(".wh..wh.plnk"), file(".wh..wh.plnk/1.2", ""), file("a", "")}},
			map[string]string{"a": "file 0644 "},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var merged []Layer
			for _, l := range tt.layers {
				merged = append(merged, layerOf(l...))
			}
			if d := cmp.Diff(tt.want, listing(t, makeDisk(t, MinSize, merged...))); d != "" {
				t.Errorf("tree (-want +got):\n%s", d)
			}
		})
	}
}
