package schemas

import (
	"bytes"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/stead-vm/stead/provider/machine"
)

func compile(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(BootConfig()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("boot-config", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("boot-config")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func TestBootConfigSchema(t *testing.T) {
	tests := map[string]struct {
		text  string
		valid bool
	}{
		"every key may be missing":    {`{}`, true},
		"Apple's five keys":           {`{"cpus":4,"memory":"8gb","homeMount":"ro","virtualization":true,"kernelPath":"/k"}`, true},
		"stead's keys":                {`{"disk":"64gb","sshAgent":false,"services":["postgresql","getty@tty1.service"]}`, true},
		"unknown keys are ignored":    {`{"rosetta":true}`, true},
		"memory in bytes as a string": {`{"memory":"1073741824"}`, true},
		"memory in any case":          {`{"memory":"2GiB"}`, true},
		"memory as a number":          {`{"memory":8}`, false},
		"a fraction of memory":        {`{"memory":"1.5gb"}`, false},
		"zero processors":             {`{"cpus":0}`, false},
		"half a processor":            {`{"cpus":1.5}`, false},
		"an unknown homeMount":        {`{"homeMount":"rx"}`, false},
		"an agent by name":            {`{"sshAgent":"yes"}`, false},
		"a relative kernel":           {`{"kernelPath":"vmlinuz"}`, false},
		"a service name with a path":  {`{"services":["../x"]}`, false},
		"a duplicate service":         {`{"services":["a","a"]}`, false},
		"a list":                      {`[]`, false},
	}
	schema := compile(t)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			v, err := jsonschema.UnmarshalJSON(strings.NewReader(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(v); (err == nil) != tt.valid {
				t.Errorf("valid: %v, want %v (%v)", err == nil, tt.valid, err)
			}
		})
	}
}

// Other programs learn about settings only from the schema.
func TestBootConfigSchemaHasEverySetting(t *testing.T) {
	keys := map[string]string{ // field of machine.Settings: key of the file
		"CPUs": "cpus", "Memory": "memory", "HomeMount": "homeMount", "Virtualization": "virtualization",
		"Kernel": "kernelPath", "Disk": "disk", "NoSSHAgent": "sshAgent", "Services": "services",
	}
	var fields []string
	settings := reflect.TypeFor[machine.Settings]()
	for i := range settings.NumField() {
		fields = append(fields, settings.Field(i).Name)
	}
	slices.Sort(fields)
	if d := cmp.Diff(fields, slices.Sorted(maps.Keys(keys))); d != "" {
		t.Errorf("settings without a key in this test (-settings +test):\n%s", d)
	}
	got := slices.Sorted(maps.Keys(compile(t).Properties))
	if d := cmp.Diff(slices.Sorted(maps.Values(keys)), got); d != "" {
		t.Errorf("keys of the schema mismatch (-want +got):\n%s", d)
	}
}
