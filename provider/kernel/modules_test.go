package kernel

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestResolveOrdersModulesForLoading(t *testing.T) {
	tests := map[string]struct {
		index map[string]string
		names []string
		want  []string
	}{
		"dependencies come first, each once": {
			index: map[string]string{"modules.dep": "a.ko: b.ko c.ko\nb.ko: c.ko\nc.ko:\nd.ko: c.ko\n"},
			names: []string{"a", "d"},
			want:  []string{"c.ko", "b.ko", "a.ko", "d.ko"},
		},
		"dashes and underscores are the same": {
			index: map[string]string{"modules.dep": "kernel/kvm-amd.ko: kernel/irq_bypass.ko\nkernel/irq_bypass.ko:\n"},
			names: []string{"kvm_amd", "irq-bypass"},
			want:  []string{"kernel/irq_bypass.ko", "kernel/kvm-amd.ko"},
		},
		"compressed files keep their names": {
			index: map[string]string{"modules.dep": "a.ko.xz: b.ko.zst\nb.ko.zst:\n"},
			names: []string{"a"},
			want:  []string{"b.ko.zst", "a.ko.xz"},
		},
		"built-in modules need no file": {
			index: map[string]string{"modules.dep": "a.ko:\n", "modules.builtin": "kernel/fs/ext4/ext4.ko\n"},
			names: []string{"ext4", "a"},
			want:  []string{"a.ko"},
		},
		"soft dependencies come first, by name or by alias": {
			index: map[string]string{
				"modules.dep":     "ext4.ko:\ncrc32c_generic.ko:\nearly.ko:\nlate.ko:\n",
				"modules.softdep": "# comment\nsoftdep ext4 pre: crc32c early absent post: late\n",
				"modules.alias":   "alias pci:v* early\nalias crc32c crc32c_generic\n",
			},
			names: []string{"ext4"},
			want:  []string{"crc32c_generic.ko", "early.ko", "ext4.ko"},
		},
		"a dependency cycle ends": {
			index: map[string]string{"modules.dep": "a.ko: b.ko\nb.ko: a.ko\n"},
			names: []string{"a"},
			want:  []string{"b.ko", "a.ko"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Kernel{ModuleTree: write(t, tt.index)}.resolve(tt.names)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("order mismatch (-want +got):\n%s", d)
			}
		})
	}
}

func TestModulesReturnsWhatAMachineNeeds(t *testing.T) {
	tests := map[string]struct {
		dep   string
		needs Needs
		want  []string
	}{
		"the minimum": {
			dep:  complete,
			want: []string{"virtio_pci", "virtio_blk", "virtio_console", "ext4"},
		},
		"shares and network": {
			dep:   complete,
			needs: Needs{Shares: true, Network: true},
			want:  []string{"virtio_pci", "virtio_blk", "virtio_console", "ext4", "virtio_net", "virtiofs"},
		},
		"optional modules, if they exist": {
			dep:  complete + "kernel/virtio_balloon.ko:\nkernel/virtio-rng.ko:\n",
			want: []string{"virtio_pci", "virtio_blk", "virtio_console", "ext4", "virtio_balloon", "virtio_rng"},
		},
		"nested, with the processor modules that exist": {
			dep:   complete + "kernel/kvm.ko:\nkernel/kvm-amd.ko: kernel/kvm.ko\n",
			needs: Needs{Nested: true},
			want:  []string{"virtio_pci", "virtio_blk", "virtio_console", "ext4", "kvm", "kvm_amd"},
		},
		"a translator of programs": {
			dep:   complete + "kernel/fs/binfmt_misc.ko:\n",
			needs: Needs{Rosetta: true},
			want:  []string{"virtio_pci", "virtio_blk", "virtio_console", "ext4", "binfmt_misc"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			k := Kernel{ModuleTree: write(t, map[string]string{"modules.dep": tt.dep})}
			got, err := k.Modules(tt.needs)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("Modules mismatch (-want +got):\n%s", d)
			}
		})
	}
	t.Run("none for a kernel with everything built in", func(t *testing.T) {
		if got, err := (Kernel{}).Modules(Needs{Shares: true}); got != nil || err != nil {
			t.Errorf("Modules = %v, %v, want none", got, err)
		}
	})
}

func TestAMissingModuleIsNamed(t *testing.T) {
	tests := map[string]struct {
		dep    string
		needs  Needs
		module string
	}{
		"a driver":          {dep: strings.ReplaceAll(complete, "virtio_blk", "x"), module: "virtio_blk"},
		"shares":            {dep: strings.ReplaceAll(complete, "virtiofs", "x"), needs: Needs{Shares: true}, module: "virtiofs"},
		"network":           {dep: strings.ReplaceAll(complete, "virtio_net", "x"), needs: Needs{Network: true}, module: "virtio_net"},
		"a virtual machine": {dep: complete, needs: Needs{Nested: true}, module: "kvm"},
		"a translator":      {dep: complete, needs: Needs{Rosetta: true}, module: "binfmt_misc"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			k := Kernel{Release: "6.1.0", ModuleTree: write(t, map[string]string{"modules.dep": tt.dep})}
			_, err := k.Modules(tt.needs)
			var missing *MissingModuleError
			if !errors.As(err, &missing) || missing.Module != tt.module || missing.Release != "6.1.0" || missing.Remedy() == "" {
				t.Errorf("Modules = %v, want a MissingModuleError for %s", err, tt.module)
			}
		})
	}
	t.Run("a dependency", func(t *testing.T) {
		k := Kernel{ModuleTree: write(t, map[string]string{"modules.dep": "a.ko: b.ko\n"})}
		_, err := k.resolve([]string{"a"})
		var missing *MissingModuleError
		if !errors.As(err, &missing) || missing.Module != "b" {
			t.Errorf("resolve = %v, want a MissingModuleError for b", err)
		}
	})
}

func TestTheErrorOfABrokenIndexNamesIt(t *testing.T) {
	for name, dep := range map[string]string{"no colon": "a.ko\n", "outside the tree": "../../etc/passwd:\n", "absolute": "a.ko: /b.ko\n"} {
		t.Run(name, func(t *testing.T) {
			dir := write(t, map[string]string{"modules.dep": dep})
			_, err := Kernel{ModuleTree: dir}.Modules(Needs{})
			if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "modules.dep")) {
				t.Errorf("Modules = %v, want an error that names modules.dep", err)
			}
		})
	}
}

func FuzzParseDep(f *testing.F) {
	f.Add(complete)
	f.Add("a-b.ko.gz: c.ko\n# d\n:\n")
	f.Fuzz(func(t *testing.T, text string) {
		modules, err := parseDep(strings.NewReader(text))
		if err != nil {
			return
		}
		for name, m := range modules {
			for _, file := range append(m.deps, m.file) {
				if !filepath.IsLocal(file) {
					t.Errorf("module %q reaches outside the tree: %q", name, file)
				}
			}
		}
	})
}

func FuzzParseSoftdepAndAlias(f *testing.F) {
	f.Add("softdep ext4 pre: crc32c post: x\nalias crc32c crc32c_generic\n")
	f.Fuzz(func(t *testing.T, text string) {
		if before, err := parseSoftdep(strings.NewReader(text)); err == nil && before == nil {
			t.Error("got neither soft dependencies nor an error")
		}
		if aliases, err := parseAlias(strings.NewReader(text)); err == nil && aliases == nil {
			t.Error("got neither aliases nor an error")
		}
	})
}
