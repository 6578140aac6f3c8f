package reconcile_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/stead-vm/stead"

// forbidden says which packages must not import which others. Packages of the
// module are named by their folder; "/..." means what is beneath too.
var forbidden = []struct {
	from    []string // empty: every package
	except  []string
	imports []string
	because string
}{
	{
		from:    []string{"config/..."},
		imports: []string{"provider/...", "reconcile/...", "cmd/..."},
		because: "a project file is read without knowing what becomes of it",
	},
	{
		from:    []string{"provider/..."},
		imports: []string{"config/...", "reconcile/...", "cmd/..."},
		because: "a machine is kept without knowing who wants it and why",
	},
	{
		from:    []string{"provider/..."},
		except:  []string{"provider"},
		imports: []string{"provider"},
		because: "what machines are made of is usable and testable without the domain",
	},
	{
		from:    []string{"reconcile/..."},
		imports: []string{"provider/*", "cmd/..."},
		because: "the engine knows machines as values; how a host makes them is behind its interface",
	},
	{
		from:    []string{"schemas/..."},
		imports: []string{"config/...", "provider/...", "reconcile/...", "cmd/..."},
		because: "everything may import the schemas",
	},
	{
		except:  []string{"provider/hypervisor/...", "provider"},
		imports: []string{"provider/hypervisor/*"},
		because: "a driver is chosen in one place; everybody else knows the interface",
	},
	{
		from: []string{"cmd/stead-agent/...", "provider/guest/..."},
		imports: []string{
			"provider", "provider/image/...", "provider/ext4/...", "provider/kernel/...", "provider/hypervisor/...",
			"provider/share/...", "provider/supervisor/...", "provider/network/...",
		},
		because: "the agent is in every initramfs and has to stay small",
	},
	{
		imports: []string{"reconcile/reconciletest", "provider/share/vhostuser/vhosttest", "provider/share/vhostuser/vsocktest"},
		because: "it is for tests",
	},
	{
		except: []string{"cmd/..."},
		imports: []string{
			"github.com/spf13/cobra", "github.com/charmbracelet/...", "github.com/vbauerster/mpb/...", "flag",
		},
		because: "only commands talk to people",
	},
	{
		except:  []string{"config/..."},
		imports: []string{"github.com/hashicorp/hcl/...", "github.com/zclconf/go-cty/..."},
		because: "the language of the project file ends where the file is read",
	},
	{
		except:  []string{"provider/guest/..."},
		imports: []string{"github.com/vishvananda/netlink", "github.com/insomniacslk/dhcp/..."},
		because: "network cards are set up inside the guest; the host's are not ours",
	},
	{
		except:  []string{"provider/hypervisor/vz/..."},
		imports: []string{"github.com/Code-Hex/vz/..."},
		because: "macOS' framework is one driver",
	},
	{
		except:  []string{"provider/share/..."},
		imports: []string{"github.com/hanwen/go-fuse/..."},
		because: "the file protocol is one package's",
	},
	{
		except:  []string{"reconcile/follow"},
		imports: []string{"github.com/fsnotify/..."},
		because: "what systems tell of files, and what they do not, is one package's matter",
	},
	{
		from:    []string{"reconcile/follow"},
		imports: []string{"config/...", "provider/...", "reconcile"},
		because: "files change whatever they are for",
	},
	{
		imports: []string{"unsafe"},
		except:  []string{"provider/share/...", "provider/guest/...", "provider/ext4/...", "provider/hypervisor/...", "provider/network/...", "provider"},
		because: "only what talks to a kernel or a device needs it",
	},
}

// The folders are the architecture: this is where it is enforced, for the files
// of every platform.
func TestForbiddenImports(t *testing.T) {
	imports := importsOfModule(t, "..")
	if len(imports) < 3 {
		t.Fatalf("only %d packages were found", len(imports))
	}
	for _, rule := range forbidden {
		for from, list := range imports {
			if len(rule.from) > 0 && !matchesAny(rule.from, from) || matchesAny(rule.except, from) {
				continue
			}
			for target, file := range list {
				if target != from && matchesAny(rule.imports, target) {
					t.Errorf("%s imports %s: %s", file, target, rule.because)
				}
			}
		}
	}
}

func TestPatternsOfTheForbiddenImports(t *testing.T) {
	tests := map[string]struct {
		pattern, path string
		want          bool
	}{
		"a folder is itself":                     {"provider", "provider", true},
		"a folder is not what is beneath":        {"provider", "provider/image", false},
		"dots are the folder":                    {"provider/...", "provider", true},
		"dots are what is beneath":               {"provider/...", "provider/guest/agent", true},
		"dots are not a longer name":             {"provider/...", "providers", false},
		"a star is what is beneath":              {"provider/*", "provider/hypervisor/qemu", true},
		"a star is not the folder":               {"provider/*", "provider", false},
		"a module's later version is beneath it": {"github.com/vbauerster/mpb/...", "github.com/vbauerster/mpb/v8", true},
	}
	for name, tt := range tests {
		if got := matchesAny([]string{tt.pattern}, tt.path); got != tt.want {
			t.Errorf("%s: %q matches %q: %v", name, tt.pattern, tt.path, got)
		}
	}
}

// matchesAny tells whether a package fits one of the patterns.
func matchesAny(patterns []string, pkg string) bool {
	for _, p := range patterns {
		if tree, ok := strings.CutSuffix(p, "/..."); ok {
			if pkg == tree || strings.HasPrefix(pkg, tree+"/") {
				return true
			}
		} else if tree, ok := strings.CutSuffix(p, "/*"); ok {
			if strings.HasPrefix(pkg, tree+"/") {
				return true
			}
		} else if p == pkg {
			return true
		}
	}
	return false
}

// importsOfModule reads what each folder's files import, tests apart: the import
// and a file that has it. Packages of the module are named by their folder.
func importsOfModule(t *testing.T, root string) map[string]map[string]string {
	t.Helper()
	found := map[string]map[string]string{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if file != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin" || name == "examples") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		folder := path.Dir(rel)
		if found[folder] == nil {
			found[folder] = map[string]string{}
		}
		for _, spec := range parsed.Imports {
			target, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			found[folder][strings.TrimPrefix(target, module+"/")] = rel
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
