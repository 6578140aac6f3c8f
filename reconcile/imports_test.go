package reconcile_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/stead-vm/stead/"

// rule says which packages must not use which others, and why. Packages of the module are
// named by their directory; "/..." includes what is beneath, "/*" is only what is beneath.
type rule struct {
	from    []string // empty: every package of the module
	except  []string // of from
	imports []string // must not be imported directly
	reach   []string // must not be reached by any chain of imports
	allow   []string // of imports and reach
	because string
}

// values are the packages that hold values only: everybody may use them.
var values = []string{"provider/machine", "provider/size", "provider/platform", "provider/printable", "provider/username"}

// parts are the packages below the domain that machines are built from.
var parts = []string{
	"provider/image/...", "provider/ext4/...", "provider/kernel/...", "provider/hypervisor/...", "provider/share/...",
	"provider/supervisor/...", "provider/guest/...", "provider/build/...", "provider/transfer/...", "provider/durable",
	"provider/space", "provider/size", "provider/platform", "provider/printable", "provider/username", "provider/poll", "provider/fault", "provider/doctor",
	"provider/logfile", "provider/regular", "provider/filelock",
}

// domain are the packages that know what a machine is.
var domain = []string{
	"provider/machine", "provider/bundle", "provider/boot", "provider/local", "provider/apple", "provider/usage", "provider/host",
	"provider/lock",
}

// networkClients reach other computers.
var networkClients = []string{"golang.org/x/crypto/ssh/...", "github.com/google/go-containerregistry/pkg/v1/remote/..."}

var rules = []rule{
	{
		from:    []string{"config/..."},
		reach:   append([]string{"provider/...", "reconcile/...", "cmd/...", "os/exec", "net/http"}, networkClients...),
		allow:   []string{"provider/size", "provider/platform", "provider/printable", "provider/username", "provider/regular"},
		because: "reading a project file starts nothing and knows no machine",
	},
	{
		from:    []string{"reconcile/..."},
		reach:   append([]string{"provider/...", "cmd/...", "os/exec", "net/http"}, networkClients...),
		allow:   append([]string{"provider/regular"}, values...), // config reads files
		because: "planning is pure; how a provider makes machines is behind its interface",
	},
	{
		from:    []string{"provider/..."},
		reach:   []string{"config/...", "reconcile/...", "cmd/..."},
		because: "a provider knows machines, but no project file and no plan",
	},
	{
		from:    values,
		imports: []string{"os", "os/exec", "io", "io/fs", "net", "net/http", "syscall"},
		because: "values do no I/O, so that a second provider needs nothing of this one",
	},
	{
		from:    []string{"provider/machine"},
		reach:   []string{"provider/..."},
		allow:   values,
		because: "a second provider implements the engine's interface from these values alone",
	},
	{
		from:    parts,
		reach:   domain,
		because: "what machines are made of is usable and testable without the domain",
	},
	{
		from:    []string{"provider/bundle", "provider/lock", "provider/usage", "provider/apple"},
		reach:   []string{"provider/hypervisor/...", "provider/supervisor/...", "provider/boot", "provider/local"},
		because: "what is on disk can be read and changed without a hypervisor",
	},
	{
		from:    []string{"cmd/stead-agent", "provider/guest/..."},
		except:  []string{"provider/guest/embedded"},
		reach:   []string{"provider/..."},
		allow:   []string{"provider/guest/...", "provider/fault", "provider/poll", "provider/durable", "provider/username"},
		because: "the agent is in every initramfs and has to stay small",
	},
	{
		from:    []string{"cmd/stead/project"},
		reach:   []string{"github.com/spf13/cobra", "github.com/charmbracelet/...", "github.com/vbauerster/mpb/...", "flag"},
		because: "what the project commands do is tested without a terminal",
	},
	{
		from:    []string{"schemas/..."},
		reach:   []string{"config/...", "provider/...", "reconcile/...", "cmd/..."},
		because: "everybody may use the schemas",
	},
	{
		except:  []string{"provider/hypervisor/...", "provider/local"},
		imports: []string{"provider/hypervisor/*"},
		because: "one place chooses a driver; all others use the interface",
	},
	{
		imports: []string{
			"reconcile/reconciletest", "provider/bundle/bundletest", "provider/guest/portmux/portmuxtest",
			"provider/share/vhostuser/vhosttest", "provider/share/vhostuser/vsocktest",
		},
		because: "it is for tests",
	},
	{
		except:  []string{"cmd/stead"},
		imports: []string{"github.com/spf13/cobra", "github.com/charmbracelet/...", "github.com/vbauerster/mpb/...", "flag"},
		because: "only commands talk to users",
	},
	{
		except:  []string{"config/..."},
		imports: []string{"github.com/hashicorp/hcl/...", "github.com/zclconf/go-cty/..."},
		because: "only the package that reads project files knows their language",
	},
	{
		except:  []string{"provider/guest/..."},
		imports: []string{"github.com/vishvananda/netlink", "github.com/insomniacslk/dhcp/..."},
		because: "network cards are set up inside the guest; the host's stay as they are",
	},
	{
		except:  []string{"provider/hypervisor/vz/..."},
		imports: []string{"github.com/Code-Hex/vz/..."},
		because: "Virtualization.framework is one driver",
	},
	{
		except:  []string{"provider/share/..."},
		imports: []string{"github.com/hanwen/go-fuse/..."},
		because: "one package speaks the file protocol",
	},
	{
		except:  []string{"provider/lock", "provider/filelock"},
		imports: []string{"github.com/gofrs/flock"},
		because: "locks of machines and projects are taken in one place, those of caches in another",
	},
	{
		except:  []string{"reconcile/follow"},
		imports: []string{"github.com/fsnotify/..."},
		because: "one package knows what systems report of files, and what they do not",
	},
	{
		from:    []string{"reconcile/follow"},
		imports: []string{"config/...", "provider/...", "reconcile"},
		because: "following files does not depend on what they are for",
	},
	{
		except:  []string{"provider/size", "cmd/stead"}, // the latter for durations
		imports: []string{"github.com/docker/go-units"},
		because: "sizes are read and printed in one place",
	},
	{
		except:  []string{"provider/share/...", "provider/guest/...", "provider/ext4/...", "provider/hypervisor/..."},
		imports: []string{"unsafe"},
		because: "only what talks to a kernel or a device needs it",
	},
}

// maxPackages bounds what the engine compiles outside of the standard library.
const maxPackages = 45

// The directories are the architecture. This is where it is enforced, for both systems.
func TestForbiddenImports(t *testing.T) {
	for _, system := range []string{"linux", "darwin"} {
		t.Run(system, func(t *testing.T) {
			graph := importGraph(t, system)
			for _, r := range rules {
				r.check(t, graph)
			}
			outside := 0
			for pkg := range reachable(graph, module+"reconcile") {
				if host, _, ok := strings.Cut(pkg, "/"); ok && strings.Contains(host, ".") && !strings.HasPrefix(pkg, module) {
					outside++
				}
			}
			if outside == 0 || outside > maxPackages {
				t.Errorf("reconcile reaches %d packages outside of the standard library, want at most %d", outside, maxPackages)
			}
		})
	}
}

func (r rule) check(t *testing.T, graph map[string][]string) {
	t.Helper()
	matched := false
	for from := range graph {
		name, ours := strings.CutPrefix(from, module)
		if !ours || len(r.from) > 0 && !matchesAny(r.from, name) || matchesAny(r.except, name) {
			continue
		}
		matched = true
		for _, target := range graph[from] {
			if r.forbids(r.imports, target, name) {
				t.Errorf("%s imports %s: %s", name, target, r.because)
			}
		}
		if len(r.reach) == 0 {
			continue
		}
		for target, via := range reachable(graph, from) {
			if r.forbids(r.reach, target, name) {
				t.Errorf("%s reaches %s (by %s): %s", name, target, strings.Join(via, " -> "), r.because)
			}
		}
	}
	if !matched {
		t.Errorf("no package is meant by the rule %q", r.because)
	}
}

func (r rule) forbids(patterns []string, target, from string) bool {
	target = strings.TrimPrefix(target, module)
	// A package may use what is in its own tree.
	if target == from || len(r.from) > 0 && matchesAny(r.from, target) {
		return false
	}
	return matchesAny(patterns, target) && !matchesAny(r.allow, target)
}

// reachable returns all that a package imports, directly or not, each with a chain of
// imports that leads to it.
func reachable(graph map[string][]string, from string) map[string][]string {
	found := map[string][]string{}
	queue := []string{from}
	for len(queue) > 0 {
		pkg := queue[0]
		queue = queue[1:]
		for _, target := range graph[pkg] {
			if _, seen := found[target]; !seen {
				found[target] = append(slices.Clone(found[pkg]), strings.TrimPrefix(target, module))
				queue = append(queue, target)
			}
		}
	}
	return found
}

// importGraph lists what each package of the program imports on a system, tests apart.
func importGraph(t *testing.T, system string) map[string][]string {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-deps", "-json=ImportPath,Imports", "./...")
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=1")
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &complaint)
	}
	graph := map[string][]string{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var pkg struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&pkg); errors.Is(err, io.EOF) {
			return graph
		} else if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(pkg.ImportPath, module+".ci/") && !strings.HasPrefix(pkg.ImportPath, module+"examples/") {
			graph[pkg.ImportPath] = pkg.Imports
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
