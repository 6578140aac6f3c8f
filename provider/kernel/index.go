package kernel

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/stead-vm/stead/provider/regular"
	"github.com/stead-vm/stead/provider/size"
)

// tree is the index of a module tree, which depmod writes.
type tree struct {
	modules map[string]module
	builtin map[string]bool
	before  map[string][]string // soft dependencies to load first if they exist
	aliases map[string]string   // exact aliases only, such as "crc32c"
}

type module struct {
	file string   // relative to the tree
	deps []string // files
}

// has reports whether the kernel has the module, built in or as a file.
func (t tree) has(name string) bool {
	name = moduleName(name)
	_, ok := t.modules[name]
	return ok || t.builtin[name]
}

// find returns the module that a soft dependency, possibly an alias, refers to, or "".
func (t tree) find(name string) string {
	if t.has(name) {
		return name
	}
	if real := t.aliases[moduleName(name)]; t.has(real) {
		return real
	}
	return ""
}

// moduleName returns the kernel's name of a module file: without directory and suffix, and
// with underscores instead of dashes.
func moduleName(file string) string {
	base, _, _ := strings.Cut(path.Base(file), ".ko")
	return strings.ReplaceAll(base, "-", "_")
}

// lazyTree is a tree that is read once, when it is first needed: an index has megabytes.
type lazyTree struct {
	once sync.Once
	tree tree
	err  error
}

// tree returns the index of the kernel's module tree.
func (k Kernel) tree() (tree, error) {
	if k.index == nil {
		return readTree(k.ModuleTree)
	}
	k.index.once.Do(func() { k.index.tree, k.index.err = readTree(k.ModuleTree) })
	return k.index.tree, k.index.err
}

// maxIndex bounds a file of a module tree's index, in bytes. A distribution's has 2 MiB.
const maxIndex = 64 * size.MiB

func readTree(dir string) (tree, error) {
	t := tree{}
	for _, index := range []struct {
		file     string
		optional bool
		parse    func(io.Reader) error
	}{
		{file: "modules.dep", parse: func(r io.Reader) (err error) { t.modules, err = parseDep(r); return }},
		{file: "modules.builtin", optional: true, parse: func(r io.Reader) (err error) { t.builtin, err = parseBuiltin(r); return }},
		{file: "modules.softdep", optional: true, parse: func(r io.Reader) (err error) { t.before, err = parseSoftdep(r); return }},
		{file: "modules.alias", optional: true, parse: func(r io.Reader) (err error) { t.aliases, err = parseAlias(r); return }},
	} {
		f, err := regular.OpenAtMost(filepath.Join(dir, index.file), maxIndex)
		if index.optional && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return tree{}, fmt.Errorf("read module index: %w", err)
		}
		err = index.parse(f)
		f.Close()
		if err != nil {
			return tree{}, fmt.Errorf("read module index %s: %w", filepath.Join(dir, index.file), err)
		}
	}
	return t, nil
}

// parseDep reads modules.dep: "kernel/a.ko: kernel/b.ko kernel/c.ko".
func parseDep(r io.Reader) (map[string]module, error) {
	modules := map[string]module{}
	err := eachLine(r, func(line string) error {
		file, deps, ok := strings.Cut(line, ":")
		file = strings.TrimSpace(file)
		if !ok || file == "" {
			return fmt.Errorf("line %q has no module", line)
		}
		m := module{file: file, deps: strings.Fields(deps)}
		for _, f := range append([]string{file}, m.deps...) {
			if !filepath.IsLocal(f) {
				return fmt.Errorf("%q is not a path inside the tree", f)
			}
		}
		modules[moduleName(file)] = m
		return nil
	})
	return modules, err
}

// parseBuiltin reads modules.builtin: one file a line.
func parseBuiltin(r io.Reader) (map[string]bool, error) {
	builtin := map[string]bool{}
	err := eachLine(r, func(line string) error {
		builtin[moduleName(line)] = true
		return nil
	})
	return builtin, err
}

// parseSoftdep reads modules.softdep: "softdep ext4 pre: crc32c post: other".
func parseSoftdep(r io.Reader) (map[string][]string, error) {
	before := map[string][]string{}
	err := eachLine(r, func(line string) error {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "softdep" {
			return nil
		}
		name, pre := moduleName(words[1]), false
		for _, w := range words[2:] {
			switch {
			case strings.HasSuffix(w, ":"):
				pre = w == "pre:"
			case pre && !slices.Contains(before[name], w):
				before[name] = append(before[name], w)
			}
		}
		return nil
	})
	return before, err
}

// parseAlias reads the aliases without wildcards from modules.alias: "alias crc32c
// crc32c_generic". The first of several wins; any of them would do.
func parseAlias(r io.Reader) (map[string]string, error) {
	aliases := map[string]string{}
	err := eachLine(r, func(line string) error {
		words := strings.Fields(line)
		if len(words) != 3 || words[0] != "alias" || strings.ContainsAny(words[1], "*?[") {
			return nil
		}
		if name := moduleName(words[1]); aliases[name] == "" {
			aliases[name] = words[2]
		}
		return nil
	})
	return aliases, err
}

func eachLine(r io.Reader, do func(line string) error) error {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20) // a module may depend on hundreds of others
	for s.Scan() {
		line := strings.TrimSpace(s.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if err := do(line); err != nil {
			return err
		}
	}
	return s.Err()
}
