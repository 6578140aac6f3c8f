package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stead-vm/stead/provider/doctor"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/stead-vm/stead/schemas"
)

var (
	goodFinding = doctor.Finding{Topic: "home directory", Detail: "/home/me"}
	poorFinding = doctor.Finding{Topic: "KVM", Verdict: doctor.Poor, Detail: "machines are emulated", Remedy: "enable it"}
	badFinding  = doctor.Finding{Topic: "kernel", Verdict: doctor.Bad, Detail: "none boots:\n  /boot/a is text", Remedy: "install one"}
)

func TestDoctorReport(t *testing.T) {
	tests := map[string]struct {
		findings []doctor.Finding
		want     string
	}{
		"good": {[]doctor.Finding{goodFinding}, `
✓ home directory  /home/me

This host can run machines.
`},
		"poor": {[]doctor.Finding{goodFinding, poorFinding}, `
✓ home directory  /home/me
! KVM             machines are emulated
                  Hint: enable it

This host can run machines, with the limits marked !.
`},
		"bad": {[]doctor.Finding{poorFinding, badFinding, goodFinding}, `
! KVM             machines are emulated
                  Hint: enable it
✗ kernel          none boots:
                    /boot/a is text
                  Hint: install one
✓ home directory  /home/me

This host cannot run machines. Fix the problems marked ✗ first.
`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := printFindings(&out, palette(false), tt.findings); err != nil {
				t.Fatal(err)
			}
			if got, want := out.String(), strings.TrimPrefix(tt.want, "\n"); got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func TestDoctorMatchesItsSchema(t *testing.T) {
	for verdict, findings := range map[string][]doctor.Finding{
		"good": {goodFinding},
		"poor": {goodFinding, poorFinding},
		"bad":  {badFinding, poorFinding, goodFinding},
	} {
		raw, err := json.Marshal(diagnosis(findings))
		if err != nil {
			t.Fatal(err)
		}
		conforms(t, schemas.Doctor(), raw)
		if !bytes.Contains(raw, []byte(`"verdict":"`+verdict+`","findings"`)) {
			t.Errorf("%s is not %s", raw, verdict)
		}
		var v any
		if err := json.Unmarshal(raw, &v); err != nil {
			t.Fatal(err)
		}
		for _, key := range keys(v, map[string]bool{}) {
			if !bytes.Contains(schemas.Doctor(), []byte(`"`+key+`": {`)) {
				t.Errorf("the schema does not describe %q", key)
			}
		}
	}
}

// matchesSchema (matches-schema FILE doctor|df) checks a JSON document against a schema.
func matchesSchema(ts *testscript.TestScript, _ bool, args []string) {
	schema := map[string][]byte{"doctor": schemas.Doctor(), "df": schemas.DF()}[args[1]]
	ts.Check(validate(schema, []byte(ts.ReadFile(args[0]))))
}
