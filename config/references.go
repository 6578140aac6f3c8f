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
	v, ok := d.value(e)
	if !ok {
		return nil
	}
	if !isList(v) {
		d.add(e.Range(), `Write services = ["postgresql"].`, "services must be a list, not %s", kind(v))
		return nil
	}
	var services []string
	seen := map[string]bool{}
	for i, element := range v.AsValueSlice() {
		at := elementRange(e, i)
		s, ok := d.textValue("a service", element, at)
		unit := strings.TrimSuffix(s, ".service")
		switch {
		case !ok:
		case !serviceForm.MatchString(s):
			d.add(at, `Write the name that "systemctl start" or "rc-service" takes, such as "postgresql".`, "%q cannot name a service", s)
		case seen[unit]:
			d.add(at, "", "service %q is listed twice", s)
		default:
			seen[unit] = true
			services = append(services, s)
		}
	}
	return services
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
