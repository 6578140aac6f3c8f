package vz

import (
	"errors"

	"github.com/stead-vm/stead/provider/doctor"
)

// facts are the properties of this Mac that findings are based on.
type facts struct {
	version    string // of macOS
	chip       string // "Apple M2 Pro"
	virtualize bool   // the processor can run virtual machines
	signed     error  // nil: this program may run machines; otherwise the framework's error
	apple      bool   // Apple silicon, which has Rosetta
	rosetta    rosetta
	nested     bool
}

// findings returns the findings for the facts.
func findings(f facts) []doctor.Finding {
	found := []doctor.Finding{macOS(f), chip(f), signature(f)}
	if f.apple {
		found = append(found, translator(f))
	}
	return append(found, examineNested(f))
}

func macOS(f facts) doctor.Finding {
	if err := checkVersion(f.version); err != nil {
		return doctor.Problem("macOS", doctor.Bad, err)
	}
	return doctor.Finding{Topic: "macOS", Detail: f.version}
}

func chip(f facts) doctor.Finding {
	if !f.virtualize {
		return doctor.Finding{
			Topic: "chip", Verdict: doctor.Bad,
			Detail: f.chip + " cannot run virtual machines: this Mac is probably a virtual machine itself",
			Remedy: "run stead on the physical Mac",
		}
	}
	return doctor.Finding{Topic: "chip", Detail: f.chip}
}

func signature(f facts) doctor.Finding {
	var unsigned *EntitlementError
	switch {
	case errors.As(f.signed, &unsigned):
		return doctor.Problem("entitlement", doctor.Bad, unsigned)
	case f.signed != nil:
		return doctor.Finding{
			Topic: "entitlement", Verdict: doctor.Poor,
			Detail: "cannot check it: " + f.signed.Error(), Remedy: signWithOurs,
		}
	}
	if !f.virtualize { // the framework may report that first
		return doctor.Finding{
			Topic: "entitlement", Verdict: doctor.Poor,
			Detail: "cannot check it on a Mac that cannot run virtual machines", Remedy: signWithOurs,
		}
	}
	return doctor.Finding{Topic: "entitlement", Detail: entitlement}
}

func translator(f facts) doctor.Finding {
	if err := checkRosetta(true, f.rosetta); err != nil {
		return doctor.Problem("Rosetta", doctor.Poor, err)
	}
	return doctor.Finding{Topic: "Rosetta", Detail: "runs programs of images for amd64"}
}

func examineNested(f facts) doctor.Finding {
	const topic = "nested virtualization"
	if !f.nested {
		return doctor.Finding{
			Topic: topic, Verdict: doctor.Poor,
			Detail: "machines cannot use virtualization = true: " + nestedWhy(false), Remedy: "use " + oldestForNested,
		}
	}
	return doctor.Finding{Topic: topic, Detail: "machines can use virtualization = true"}
}
