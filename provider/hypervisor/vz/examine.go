package vz

import (
	"errors"

	"github.com/stead-vm/stead/provider/doctor"
)

// facts are what a look at this Mac can find.
type facts struct {
	version    string // of macOS
	chip       string // "Apple M2 Pro"
	virtualize bool   // the processor runs virtual machines
	signed     error  // nil: this program may run machines; what the framework said otherwise
	apple      bool   // Apple silicon, which has Rosetta
	rosetta    rosetta
	nested     bool
}

// assess says what the facts mean for machines.
func assess(f facts) []doctor.Finding {
	found := []doctor.Finding{macOS(f), chip(f), signature(f)}
	if f.apple {
		found = append(found, translator(f))
	}
	return append(found, inside(f))
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
			Detail: f.chip + " runs no virtual machines: this macOS is probably one itself",
			Remedy: "run stead on the Mac itself",
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
			Detail: "cannot be asked for: " + f.signed.Error(), Remedy: signWithOurs,
		}
	}
	if !f.virtualize { // the framework may complain of that first
		return doctor.Finding{
			Topic: "entitlement", Verdict: doctor.Poor,
			Detail: "is not told on a Mac that runs no machines", Remedy: signWithOurs,
		}
	}
	return doctor.Finding{Topic: "entitlement", Detail: entitlement}
}

func translator(f facts) doctor.Finding {
	if err := checkRosetta(true, f.rosetta); err != nil {
		return doctor.Problem("Rosetta", doctor.Poor, err)
	}
	return doctor.Finding{Topic: "Rosetta", Detail: "images for amd64 run translated"}
}

func inside(f facts) doctor.Finding {
	const topic = "nested virtualization"
	if !f.nested {
		return doctor.Finding{
			Topic: topic, Verdict: doctor.Poor,
			Detail: "machines cannot have virtualization = true: " + nestedWhy(false), Remedy: "use " + oldestForNested,
		}
	}
	return doctor.Finding{Topic: topic, Detail: "machines can have virtualization = true"}
}
