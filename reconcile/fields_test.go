package reconcile

import (
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stead-vm/stead/provider/machine"
)

// A new field of a machine needs a row in the table of fields.
func TestEveryMachineFieldHasOneRow(t *testing.T) {
	notCompared := map[string]string{
		"ID":       "machines are matched by it",
		"Build":    "the image that it makes is compared",
		"Settings": "its fields are tested separately",
		"User":     "its fields are tested separately",
	}
	check := func(name string, set func(*machine.Spec)) {
		var zero, changed machine.Spec
		set(&changed)
		var rows []string
		for _, f := range fields {
			if f.text(&zero) != f.text(&changed) {
				rows = append(rows, f.name)
			}
		}
		if len(rows) != 1 {
			t.Errorf("a difference in %s shows in the rows %v of the table of fields, want exactly one", name, rows)
		}
	}
	spec := reflect.TypeFor[machine.Spec]()
	for i := range spec.NumField() {
		if f := spec.Field(i); notCompared[f.Name] == "" {
			check(f.Name, func(s *machine.Spec) { fill(reflect.ValueOf(s).Elem().Field(i)) })
		}
	}
	user := reflect.TypeFor[machine.User]()
	for i := range user.NumField() {
		check("User."+user.Field(i).Name, func(s *machine.Spec) { fill(reflect.ValueOf(&s.User).Elem().Field(i)) })
	}
	settings := reflect.TypeFor[machine.Settings]()
	for i := range settings.NumField() {
		check("Settings."+settings.Field(i).Name, func(s *machine.Spec) {
			fill(reflect.ValueOf(&s.Settings).Elem().Field(i))
		})
	}
}

func TestClassesOfFields(t *testing.T) {
	want := map[string]class{
		"file": record, "prevent_destroy": record, "image": record, "digest": identity, "platform": identity, "user": boot, "user_ids": identity,
		"cpus": boot, "memory": boot, "disk": boot, "kernel": boot, "virtualization": boot, "home_mount": boot,
		"services": live, "ssh_agent": record,
	}
	got := map[string]class{}
	for _, f := range fields {
		got[f.name] = f.class
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("classes mismatch (-want +got):\n%s", d)
	}
}

// fill gives v a value that is not zero.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("other")
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	default:
		panic("fill: no value for kind " + v.Kind().String())
	}
}
