package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stead-vm/stead/provider/space"
	"github.com/stead-vm/stead/provider/usage"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/stead-vm/stead/schemas"
)

// someUsage returns a report with every optional field.
func someUsage() usage.Report {
	return usage.Report{Home: "/home/me/.local/share/stead", Unneeded: 4096, Groups: []usage.Group{
		{
			Kind: usage.Images, Count: 1, Space: space.Space{Size: 10 << 20, Real: 9 << 20}, Reclaimable: 1 << 20,
			Items: []usage.Item{{
				Name: "docker.io/library/debian:12", Users: []string{"api", "dev"},
				Space: space.Space{Size: 8 << 20, Real: 8 << 20},
			}},
		},
		{
			Kind: usage.Machines, Count: 1, Space: space.Space{Size: 64 << 30, Real: 3 << 30},
			Items: []usage.Item{{Name: "dev", Owner: "acme", Space: space.Space{Size: 64 << 30, Real: 3 << 30}}},
		},
		{Kind: usage.Kernels},
	}}
}

func TestDfMatchesItsSchema(t *testing.T) {
	raw, err := json.Marshal(report(someUsage()))
	if err != nil {
		t.Fatal(err)
	}
	conforms(t, schemas.DF(), raw)
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	for _, key := range keys(v, map[string]bool{}) {
		if !bytes.Contains(schemas.DF(), []byte(`"`+key+`": {`)) {
			t.Errorf("the schema does not describe %q", key)
		}
	}
}

// conforms checks that a document matches a schema, which must describe each of its keys.
func conforms(t *testing.T, schema, document []byte) {
	t.Helper()
	if err := validate(schema, document); err != nil {
		t.Errorf("%v\n%s", err, document)
	}
}

func validate(schema, document []byte) error {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return err
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema", doc); err != nil {
		return err
	}
	compiled, err := c.Compile("schema")
	if err != nil {
		return err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		return err
	}
	return compiled.Validate(v)
}

// keys returns the names of all keys in v.
func keys(v any, seen map[string]bool) (names []string) {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			if !seen[k] {
				seen[k] = true
				names = append(names, k)
			}
			names = append(names, keys(inner, seen)...)
		}
	case []any:
		for _, inner := range v {
			names = append(names, keys(inner, seen)...)
		}
	}
	return names
}

func TestDfListsItemsOnlyIfVerbose(t *testing.T) {
	const brief = `TYPE      COUNT  SIZE      REAL     RECLAIMABLE
images    1      10.0 MiB  9.0 MiB  1.0 MiB
machines  1      64.0 GiB  3.0 GiB  0 B
kernels   0      0 B       0 B      0 B
total            64.0 GiB  3.0 GiB  1.0 MiB

"stead image prune" frees 4.0 KiB of unused data; with --disks and --all it frees up to 1.0 MiB.
`
	const verbose = `TYPE                           COUNT  SIZE      REAL     RECLAIMABLE  USED BY
images                         1      10.0 MiB  9.0 MiB  1.0 MiB
  docker.io/library/debian:12         8.0 MiB   8.0 MiB  0 B          api, dev
machines                       1      64.0 GiB  3.0 GiB  0 B
  dev                                 64.0 GiB  3.0 GiB  0 B          acme
kernels                        0      0 B       0 B      0 B
total                                 64.0 GiB  3.0 GiB  1.0 MiB

"stead image prune" frees 4.0 KiB of unused data; with --disks and --all it frees up to 1.0 MiB.
`
	for want, all := range map[string]bool{brief: false, verbose: true} {
		var out strings.Builder
		if err := usageTable(&out, someUsage(), all); err != nil {
			t.Fatal(err)
		}
		var lines []string
		for line := range strings.Lines(out.String()) {
			lines = append(lines, strings.TrimRight(line, " \n")+"\n")
		}
		if got := strings.Join(lines, ""); got != want {
			t.Errorf("got:\n%s\nwant:\n%s", got, want)
		}
	}
}
