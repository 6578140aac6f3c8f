package config

import (
	"io"

	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"

	"github.com/stead-vm/stead/provider/size"
)

// Declaration is a machine for [Write], with comments.
type Declaration struct {
	Machine
	Comments []string // written above the block, one line each
}

// Write writes machines in the form of a project file, one block each, in the given order.
// It omits arguments that are not set. [Load] reads the same machines from it, wherever the
// file is, because their paths are absolute.
func Write(w io.Writer, machines []Declaration) error {
	file := hclwrite.NewEmptyFile()
	for i, m := range machines {
		if i > 0 {
			file.Body().AppendNewline()
		}
		for _, line := range m.Comments {
			file.Body().AppendUnstructuredTokens(comment(line))
		}
		writeMachine(file.Body().AppendNewBlock(machineBlock, []string{m.Name}).Body(), &m.Machine)
	}
	_, err := w.Write(hclwrite.Format(file.Bytes()))
	return err
}

// comment returns text as one comment line, even if it has newlines.
func comment(text string) hclwrite.Tokens {
	return hclwrite.Tokens{{Bytes: []byte("# " + masked(oneLine(text)) + "\n")}}
}

// machineValues return the value of each argument, or null to omit it. They have the names
// and the order of [machineAttributes].
var machineValues = []struct {
	name  string
	value func(m *Machine) cty.Value
}{
	{"image", func(m *Machine) cty.Value { return textOrNull(m.Image) }},
	{"platform", func(m *Machine) cty.Value { return textOrNull(m.Platform.String()) }},
	{"cpus", func(m *Machine) cty.Value { return numberOrNull(m.CPUs) }},
	{"memory", func(m *Machine) cty.Value { return sizeOrNull(m.Memory) }},
	{"disk", func(m *Machine) cty.Value { return sizeOrNull(m.Disk) }},
	{"kernel", func(m *Machine) cty.Value { return textOrNull(m.Kernel) }},
	{"virtualization", func(m *Machine) cty.Value { return trueOrNull(m.Virtualization) }},
	{"user", func(m *Machine) cty.Value { return textOrNull(m.User) }},
	{"home_mount", func(m *Machine) cty.Value { return textOrNull(m.HomeMount) }},
	{"ssh_agent", func(m *Machine) cty.Value { return falseIf(m.NoSSHAgent) }},
	{"services", func(m *Machine) cty.Value { return listOrNull(m.Services) }},
	{"state", func(m *Machine) cty.Value { return wordIf(m.Stopped, stateStopped) }},
	{"depends_on", func(m *Machine) cty.Value { return listOrNull(m.DependsOn) }},
}

func writeMachine(body *hclwrite.Body, m *Machine) {
	for _, a := range machineValues {
		setUnlessNull(body, a.name, a.value(m))
	}
	if b := m.Build; b != nil {
		body.AppendNewline()
		inner := body.AppendNewBlock(buildBlock, nil).Body()
		setUnlessNull(inner, "context", textOrNull(b.Context))
		setUnlessNull(inner, "dockerfile", textOrNull(b.Dockerfile))
		setUnlessNull(inner, "target", textOrNull(b.Target))
		setUnlessNull(inner, "args", objectOrNull(b.Args))
	}
	if m.Lifecycle != (Lifecycle{}) {
		body.AppendNewline()
		inner := body.AppendNewBlock(lifecycleBlock, nil).Body()
		setUnlessNull(inner, "prevent_destroy", trueOrNull(m.Lifecycle.PreventDestroy))
		setUnlessNull(inner, "on_image_change", wordIf(m.Lifecycle.KeepImage, imageKept))
	}
}

func setUnlessNull(body *hclwrite.Body, name string, v cty.Value) {
	if !v.IsNull() {
		body.SetAttributeValue(name, v)
	}
}

func textOrNull(s string) cty.Value { return wordIf(s != "", s) }

func wordIf(written bool, word string) cty.Value {
	if !written {
		return cty.NullVal(cty.String)
	}
	return cty.StringVal(word)
}

func numberOrNull(n int) cty.Value {
	if n == 0 {
		return cty.NullVal(cty.Number)
	}
	return cty.NumberIntVal(int64(n))
}

func trueOrNull(b bool) cty.Value {
	if !b {
		return cty.NullVal(cty.Bool)
	}
	return cty.True
}

func falseIf(written bool) cty.Value {
	if !written {
		return cty.NullVal(cty.Bool)
	}
	return cty.False
}

func listOrNull(list []string) cty.Value {
	if len(list) == 0 {
		return cty.NullVal(cty.List(cty.String))
	}
	values := make([]cty.Value, len(list))
	for i, s := range list {
		values[i] = cty.StringVal(s)
	}
	return cty.TupleVal(values)
}

func objectOrNull(m map[string]string) cty.Value {
	if len(m) == 0 {
		return cty.NullVal(cty.Map(cty.String))
	}
	values := map[string]cty.Value{}
	for name, s := range m {
		values[name] = cty.StringVal(s)
	}
	return cty.ObjectVal(values)
}

// sizeOrNull returns a size as a project file writes it; 0 is left out.
func sizeOrNull(n int64) cty.Value {
	if n == 0 {
		return cty.NullVal(cty.String)
	}
	return cty.StringVal(size.Setting(n))
}

// Sayable reports whether a project file can express a size of n bytes.
func Sayable(n int64) bool { return n >= minSize && n <= maxSize && n%size.MiB == 0 }
