package config

import (
	"path/filepath"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// localImages are the prefixes of images in a local file or directory.
var localImages = []string{"oci:", "oci-archive:", "docker-archive:"}

const imagesAllowed = `Name a registry image ("docker.io/library/debian:bookworm"), a directory ("oci:./image") or a file ("oci-archive:./image.tar", "docker-archive:./image.tar").`

// image reads an image reference. The path of a local image becomes absolute.
func (d *decoder) image(a argument) string {
	ref, ok := d.text(a)
	if !ok {
		return ""
	}
	for _, prefix := range localImages {
		if path, local := strings.CutPrefix(ref, prefix); local {
			if path == "" {
				d.add(a.expr.Range(), "Invalid image reference", "%q has no path after the colon.\n%s", ref, imagesAllowed)
				return ""
			}
			return prefix + d.path(path, a.expr.Range())
		}
	}
	if _, err := name.ParseReference(ref); err != nil {
		// The library's error only repeats the reference.
		d.add(a.expr.Range(), "Invalid image reference", "%q is not a valid image reference. Repository names are lower case.\n%s", ref, imagesAllowed)
		return ""
	}
	return ref
}

// kernel reads the path of a kernel file.
func (d *decoder) kernel(a argument) string {
	path, ok := d.text(a)
	if !ok {
		return ""
	}
	if strings.Contains(path, "://") || strings.HasPrefix(path, "oci:") {
		d.add(a.expr.Range(), "Invalid kernel path", `kernel must be the path of a local file, not %q. Download the kernel and write kernel = "./vmlinuz".`, path)
		return ""
	}
	return d.path(path, a.expr.Range())
}

// path makes a path in the file absolute: "~/" is the user's home directory, and
// other paths are relative to the file's directory.
func (d *decoder) path(path string, at hcl.Range) string { return d.pathIn(d.dir, path, at) }

// pathIn is like path, relative to dir.
func (d *decoder) pathIn(dir, path string, at hcl.Range) string {
	if rest, home := strings.CutPrefix(path, "~"); home && (rest == "" || rest[0] == '/') {
		if d.home == "" {
			d.add(at, "Unknown home directory", "%q is in your home directory, which cannot be determined. Write the full path or set HOME.", path)
			return ""
		}
		return filepath.Join(d.home, rest)
	}
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}

// serviceForm is the form of systemd's unit names. OpenRC's names have it as well.
var serviceForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.:@\\-]{0,254}$`)

// services reads the names of services, in their order.
func (d *decoder) services(a argument) []string {
	seen := map[string]bool{}
	return d.texts(a, func(s string, at hcl.Range) bool {
		unit := strings.TrimSuffix(s, ".service")
		switch {
		case !serviceForm.MatchString(s):
			d.add(at, "Invalid service name",
				`%q is not a valid service name. Write the name that "systemctl start" or "rc-service" takes, such as "postgresql".`, s)
		case seen[unit]:
			d.add(at, "Duplicate service", `services already lists %[1]q. The names %[1]q and "%[1]s.service" mean the same service.`, unit)
		default:
			seen[unit] = true
			return true
		}
		return false
	})
}

// texts reads a list of strings and returns those for which accept returns true.
func (d *decoder) texts(a argument, accept func(s string, at hcl.Range) bool) []string {
	v, ok := d.value(a)
	if !ok {
		return nil
	}
	if !isList(v) {
		d.invalidValue(a, v)
		return nil
	}
	element := form{name: "Each element of " + a.name, want: "a string"}
	var list []string
	for i, value := range v.AsValueSlice() {
		at := elementRange(a.expr, i)
		if s, ok := d.textValue(element, value, at); ok && accept(s, at) {
			list = append(list, s)
		}
	}
	return list
}

// reference reads the name of a machine.
func (d *decoder) reference(a argument) string {
	s, ok := d.text(a)
	if !ok || isName(s) {
		return s
	}
	d.invalidName("machine", s, a.expr.Range())
	return ""
}

// dependsOn reads the names of other machines. [decoder.references] checks that they are
// declared.
func (d *decoder) dependsOn(self string, a argument) []string {
	seen := map[string]bool{self: true}
	return d.texts(a, func(s string, at hcl.Range) bool {
		if s == self {
			d.add(at, "Self-reference", "Machine %q cannot depend on itself. Remove it from depends_on.", s)
		} else if seen[s] {
			d.add(at, "Duplicate dependency", "depends_on already lists machine %q.", s)
		}
		again := seen[s]
		seen[s] = true
		d.refs = append(d.refs, ref{name: s, at: at})
		return !again
	})
}

// argForm is the form of a name that ARG declares in a Dockerfile.
var argForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// args reads build arguments: an object whose values are strings, or numbers and bools,
// which become strings.
func (d *decoder) args(a argument) map[string]string {
	v, ok := d.value(a)
	if !ok {
		return nil
	}
	if t := v.Type(); !t.IsObjectType() && !t.IsMapType() {
		d.invalidValue(a, v)
		return nil
	}
	args := map[string]string{}
	for name, value := range v.AsValueMap() {
		text, err := convert.Convert(value, cty.String)
		switch {
		case !argForm.MatchString(name):
			d.add(a.expr.Range(), "Invalid build argument name",
				"%q is not a valid build argument name. A name consists of letters, digits and underscores, and does not start with a digit.", name)
		case err != nil:
			d.add(a.expr.Range(), "Invalid build argument", "Build argument %q must be a string, a number or a bool, not %s.", name, kind(value))
		case !text.IsNull():
			if r, ok := hiddenInLines(text.AsString()); ok {
				d.add(a.expr.Range(), "Invalid build argument", "Build argument %q contains the invisible character %U. Remove it.", name, r)
			}
			args[name] = text.AsString()
		}
	}
	return args
}

// elementRange returns the range of element i of a list, or of the whole list if
// the list is computed.
func elementRange(e hclsyntax.Expression, i int) hcl.Range {
	if list, literal := e.(*hclsyntax.TupleConsExpr); literal && i < len(list.Exprs) {
		return list.Exprs[i].Range()
	}
	return e.Range()
}
