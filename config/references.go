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

// localImages are the prefixes of images that lie in a file or folder.
var localImages = []string{"oci:", "oci-archive:", "docker-archive:"}

const imagesAllowed = `Name a registry image ("docker.io/library/debian:bookworm"), a folder ("oci:./image") or a file ("oci-archive:./image.tar", "docker-archive:./image.tar").`

// image reads an image reference. The path of a local one becomes absolute.
func (d *decoder) image(e hclsyntax.Expression) string {
	ref, ok := d.text("image", e)
	if !ok {
		return ""
	}
	for _, prefix := range localImages {
		if path, local := strings.CutPrefix(ref, prefix); local {
			if path == "" {
				d.add(e.Range(), imagesAllowed, "image %q names no path", ref)
				return ""
			}
			return prefix + d.path(path, e.Range())
		}
	}
	if _, err := name.ParseReference(ref); err != nil {
		d.add(e.Range(), imagesAllowed, "%q is not an image reference: %s", ref, oneLine(err.Error()))
		return ""
	}
	return ref
}

// kernel reads the path of a kernel file.
func (d *decoder) kernel(e hclsyntax.Expression) string {
	path, ok := d.text("kernel", e)
	if !ok {
		return ""
	}
	if strings.Contains(path, "://") || strings.HasPrefix(path, "oci:") {
		d.add(e.Range(), `Download it and write kernel = "./vmlinuz".`, "kernel must be the path of a file, not %q", path)
		return ""
	}
	return d.path(path, e.Range())
}

// path makes a path of the file absolute: "~/" is the user's home, anything
// else is relative to the file's folder.
func (d *decoder) path(path string, at hcl.Range) string { return d.pathIn(d.dir, path, at) }

// pathIn is path for what is relative to another folder.
func (d *decoder) pathIn(dir, path string, at hcl.Range) string {
	if rest, home := strings.CutPrefix(path, "~"); home && (rest == "" || rest[0] == '/') {
		if d.home == "" {
			d.add(at, "Write the whole path, or set HOME.", "%q needs a home folder, and there is none", path)
			return ""
		}
		return filepath.Join(d.home, rest)
	}
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}

// serviceForm is systemd's alphabet of unit names, which holds OpenRC's as well.
var serviceForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.:@\\-]{0,254}$`)

// services reads the names of services, in their order.
func (d *decoder) services(e hclsyntax.Expression) []string {
	seen := map[string]bool{}
	return d.texts("services", `["postgresql"]`, "a service", e, func(s string, at hcl.Range) bool {
		unit := strings.TrimSuffix(s, ".service")
		switch {
		case !serviceForm.MatchString(s):
			d.add(at, `Write the name that "systemctl start" or "rc-service" takes, such as "postgresql".`, "%q cannot name a service", s)
		case seen[unit]:
			d.add(at, "", "service %q is listed twice", s)
		default:
			seen[unit] = true
			return true
		}
		return false
	})
}

// texts reads a list of text, of which accept takes elements.
func (d *decoder) texts(name, example, element string, e hclsyntax.Expression, accept func(s string, at hcl.Range) bool) []string {
	v, ok := d.value(e)
	if !ok {
		return nil
	}
	if !isList(v) {
		d.add(e.Range(), "Write "+name+" = "+example+".", "%s must be a list, not %s", name, kind(v))
		return nil
	}
	var list []string
	for i, value := range v.AsValueSlice() {
		at := elementRange(e, i)
		if s, ok := d.textValue(element, value, at); ok && accept(s, at) {
			list = append(list, s)
		}
	}
	return list
}

// reference reads the name of a machine.
func (d *decoder) reference(name string, e hclsyntax.Expression) string {
	s, ok := d.text(name, e)
	if !ok || isName(s) {
		return s
	}
	d.add(e.Range(), namesAllowed, "%q cannot name a machine.%s", s, didYouMeanName(s))
	return ""
}

// dependsOn reads names of other machines. Whether they are declared is known when the
// whole file is read: see [decoder.references].
func (d *decoder) dependsOn(self string, e hclsyntax.Expression) []string {
	seen := map[string]bool{self: true}
	return d.texts("depends_on", `["db"]`, "a machine", e, func(s string, at hcl.Range) bool {
		if s == self {
			d.add(at, "", "machine %q cannot depend on itself", s)
		} else if seen[s] {
			d.add(at, "", "machine %q is listed twice", s)
		}
		again := seen[s]
		seen[s] = true
		d.refs = append(d.refs, ref{name: s, at: at})
		return !again
	})
}

// argForm is what ARG takes in a Dockerfile.
var argForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// args reads build arguments: an object of text, in which numbers and truths are
// taken for their text.
func (d *decoder) args(e hclsyntax.Expression) map[string]string {
	v, ok := d.value(e)
	if !ok {
		return nil
	}
	if t := v.Type(); !t.IsObjectType() && !t.IsMapType() {
		d.add(e.Range(), `Write args = { VERSION = "1.2" }.`, "args must be an object, not %s", kind(v))
		return nil
	}
	args := map[string]string{}
	for name, value := range v.AsValueMap() {
		text, err := convert.Convert(value, cty.String)
		switch {
		case !argForm.MatchString(name):
			d.add(e.Range(), "A name has letters, digits and underscores.", "%q cannot name a build argument", name)
		case err != nil:
			d.add(e.Range(), "", "build argument %s must be text, not %s", name, kind(value))
		case !text.IsNull():
			args[name] = text.AsString()
		}
	}
	return args
}

// elementRange is where element i of a list is written, or the whole list when
// that was computed.
func elementRange(e hclsyntax.Expression, i int) hcl.Range {
	if list, literal := e.(*hclsyntax.TupleConsExpr); literal && i < len(list.Exprs) {
		return list.Exprs[i].Range()
	}
	return e.Range()
}
