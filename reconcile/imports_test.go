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

// forbidden lists which packages must not import which others. Packages of the module are
// named by their directory; "/..." includes all packages below it, "/*" means only those.
var forbidden = []struct {
	from    []string // empty: every package
	except  []string // of from
	imports []string
	allowed []string // of imports
	because string
}{
	{
		from:    []string{"config/..."},
		imports: []string{"provider/...", "reconcile/...", "cmd/..."},
		allowed: []string{"provider/platform", "provider/size"},
		because: "a project file is read independently of the host",
	},
	{
		from:    []string{"provider/..."},
		imports: []string{"config/...", "reconcile/...", "cmd/..."},
		because: "providers do not depend on project files or plans",
	},
	{
		from:    []string{"provider/..."},
		except:  []string{"provider/local"},
		imports: []string{"provider/local"},
		because: "the parts of machines are usable and testable without the provider that combines them",
	},
	{
		from:    []string{"reconcile/..."},
		imports: []string{"provider/*", "cmd/..."},
		allowed: []string{"provider/machine", "provider/platform", "provider/size"},
		because: "the engine knows machines as values; the host is behind its Provider interface",
	},
	{
		from:    []string{"schemas/..."},
		imports: []string{"config/...", "provider/...", "reconcile/...", "cmd/..."},
		because: "everything may import the schemas",
	},
	{
		except:  []string{"provider/hypervisor/...", "provider/local"},
		imports: []string{"provider/hypervisor/*"},
		because: "one place chooses a driver; all others use the interface",
	},
	{
		from: []string{"cmd/stead-agent/...", "provider/guest/..."},
		imports: []string{
			"provider/local", "provider/image/...", "provider/ext4/...", "provider/kernel/...", "provider/hypervisor/...",
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
		because: "only commands have a user interface",
	},
	{
		except:  []string{"config/..."},
		imports: []string{"github.com/hashicorp/hcl/...", "github.com/zclconf/go-cty/..."},
		because: "only the package that reads project files knows their language",
	},
	{
		except:  []string{"provider/guest/..."},
		imports: []string{"github.com/vishvananda/netlink", "github.com/insomniacslk/dhcp/..."},
		because: "network interfaces are set up in the guest only, not on the host",
	},
	{
		except:  []string{"provider/hypervisor/vz/..."},
		imports: []string{"github.com/Code-Hex/vz/..."},
		because: "one driver wraps the framework of macOS",
	},
	{
		except:  []string{"provider/share/..."},
		imports: []string{"github.com/hanwen/go-fuse/..."},
		because: "one package implements the file protocol",
	},
	{
		except:  []string{"reconcile/follow"},
		imports: []string{"github.com/fsnotify/..."},
		because: "one package handles the differences of file notifications",
	},
	{
		from:    []string{"reconcile/follow"},
		imports: []string{"config/...", "provider/...", "reconcile"},
		because: "following files does not depend on what they are for",
	},
	{
		imports: []string{"unsafe"},
		except:  []string{"provider/share/...", "provider/guest/...", "provider/ext4/...", "provider/hypervisor/...", "provider/network/...", "provider/local"},
		because: "only code that talks to a kernel or a device needs it",
	},
}

// The directories are the architecture. This test enforces it, for the files of all platforms.
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
				if target != from && matchesAny(rule.imports, target) && !matchesAny(rule.allowed, target) {
					t.Errorf("%s imports %s: %s", file, target, rule.because)
				}
			}
		}
	}
}

func TestMatchesAny(t *testing.T) {
	tests := map[string]struct {
		pattern, path string
		want          bool
	}{
		"a directory matches itself":          {"provider", "provider", true},
		"a directory does not match below it": {"provider", "provider/image", false},
		"dots match the directory":            {"provider/...", "provider", true},
		"dots match below it":                 {"provider/...", "provider/guest/agent", true},
		"dots do not match a longer name":     {"provider/...", "providers", false},
		"a star matches below it":             {"provider/*", "provider/hypervisor/qemu", true},
		"a star does not match the directory": {"provider/*", "provider", false},
		"dots match a later major version":    {"github.com/vbauerster/mpb/...", "github.com/vbauerster/mpb/v8", true},
	}
	for name, tt := range tests {
		if got := matchesAny([]string{tt.pattern}, tt.path); got != tt.want {
			t.Errorf("%s: %q matches %q: %v", name, tt.pattern, tt.path, got)
		}
	}
}

// matchesAny reports whether a package matches one of the patterns.
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

// importsOfModule returns the imports of each directory, without those of tests: the imported
// package and a file that imports it. Packages of the module are named by their directory.
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
		dir := path.Dir(rel)
		if found[dir] == nil {
			found[dir] = map[string]string{}
		}
		for _, spec := range parsed.Imports {
			target, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			found[dir][strings.TrimPrefix(target, module+"/")] = rel
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
