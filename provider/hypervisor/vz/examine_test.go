package vz

import (
	"errors"
	"strings"
	"testing"

	"github.com/stead-vm/stead/provider/doctor"
)

func TestFindings(t *testing.T) {
	good := facts{version: "15.1", chip: "Apple M3", virtualize: true, apple: true, rosetta: rosettaInstalled, nested: true}
	const quiet = doctor.Good
	tests := map[string]struct {
		change  func(*facts)
		topic   string
		verdict doctor.Verdict
		detail  string
		remedy  string
	}{
		"the macOS":                       {topic: "macOS", verdict: quiet, detail: "15.1"},
		"an old macOS":                    {change: func(f *facts) { f.version = "12.6" }, topic: "macOS", verdict: doctor.Bad, detail: "12.6 is too old", remedy: "update macOS to 13"},
		"the chip":                        {topic: "chip", verdict: quiet, detail: "Apple M3"},
		"a Mac that is a virtual machine": {change: func(f *facts) { f.virtualize = false }, topic: "chip", verdict: doctor.Bad, detail: "Apple M3 cannot run virtual machines", remedy: "on the physical Mac"},
		"the entitlement":                 {topic: "entitlement", verdict: quiet, detail: entitlement},
		"no entitlement":                  {change: func(f *facts) { f.signed = &EntitlementError{} }, topic: "entitlement", verdict: doctor.Bad, detail: "not signed", remedy: "make install"},
		"failed check of the entitlement": {change: func(f *facts) { f.signed = errors.New("no such program") }, topic: "entitlement", verdict: doctor.Poor, detail: "no such program", remedy: "make install"},
		"Rosetta":                         {topic: "Rosetta", verdict: quiet, detail: "amd64"},
		"no Rosetta yet":                  {change: func(f *facts) { f.rosetta = rosettaMissing }, topic: "Rosetta", verdict: doctor.Poor, detail: "not installed", remedy: "softwareupdate --install-rosetta"},
		"a macOS without Rosetta":         {change: func(f *facts) { f.rosetta = rosettaUnsupported }, topic: "Rosetta", verdict: doctor.Poor, detail: "not available", remedy: "choose an image"},
		"nested virtualization":           {topic: "nested virtualization", verdict: quiet, detail: "can use"},
		"no nested virtualization":        {change: func(f *facts) { f.nested = false }, topic: "nested virtualization", verdict: doctor.Poor, detail: "M3 or later", remedy: "macOS 15"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := good
			if tt.change != nil {
				tt.change(&f)
			}
			for _, got := range findings(f) {
				if got.Topic != tt.topic {
					if got.Verdict != quiet {
						t.Errorf("%s is %v too", got.Topic, got.Verdict)
					}
					continue
				}
				if got.Verdict != tt.verdict || !strings.Contains(got.Detail, tt.detail) || !strings.Contains(got.Remedy, tt.remedy) ||
					(got.Remedy == "") != (tt.verdict == quiet) {
					t.Errorf("finding = %+v, want %v with detail %q and remedy %q", got, tt.verdict, tt.detail, tt.remedy)
				}
				return
			}
			t.Errorf("no finding about %s", tt.topic)
		})
	}
}

func TestIntelMacsAreNotOfferedRosetta(t *testing.T) {
	for _, got := range findings(facts{version: "14.2", chip: "Intel(R) Core(TM) i7", virtualize: true}) {
		if got.Topic == "Rosetta" {
			t.Errorf("found %+v", got)
		}
	}
}

func TestEntitlementCannotBeCheckedOnAVirtualMac(t *testing.T) {
	got := signature(facts{})
	if got.Verdict != doctor.Poor || !strings.Contains(got.Detail, "cannot check it") || !strings.Contains(got.Remedy, "make install") {
		t.Errorf("found %+v", got)
	}
}
