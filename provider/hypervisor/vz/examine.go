package vz

import (
	"errors"

	"github.com/stead-vm/stead/provider/hypervisor"
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
func assess(f facts) []hypervisor.Finding {
	found := []hypervisor.Finding{macOS(f), chip(f), signature(f)}
	if f.apple {
		found = append(found, translator(f))
	}
	return append(found, inside(f))
}

func macOS(f facts) hypervisor.Finding {
	if err := checkVersion(f.version); err != nil {
		return hypervisor.Problem("macOS", hypervisor.Bad, err)
	}
	return hypervisor.Finding{Topic: "macOS", Detail: f.version}
}

func chip(f facts) hypervisor.Finding {
	if !f.virtualize {
		return hypervisor.Finding{
			Topic: "chip", Verdict: hypervisor.Bad,
			Detail: f.chip + " runs no virtual machines: this macOS is probably one itself",
			Remedy: "run stead on the Mac itself",
		}
	}
	return hypervisor.Finding{Topic: "chip", Detail: f.chip}
}

func signature(f facts) hypervisor.Finding {
	var unsigned *EntitlementError
	switch {
	case errors.As(f.signed, &unsigned):
		return hypervisor.Problem("entitlement", hypervisor.Bad, unsigned)
	case f.signed != nil:
		return hypervisor.Finding{
			Topic: "entitlement", Verdict: hypervisor.Poor,
			Detail: "cannot be asked for: " + f.signed.Error(), Remedy: signWithOurs,
		}
	}
	if !f.virtualize { // the framework may complain of that first
		return hypervisor.Finding{
			Topic: "entitlement", Verdict: hypervisor.Poor,
			Detail: "is not told on a Mac that runs no machines", Remedy: signWithOurs,
		}
	}
	return hypervisor.Finding{Topic: "entitlement", Detail: entitlement}
}

func translator(f facts) hypervisor.Finding {
	if err := checkRosetta(true, f.rosetta); err != nil {
		return hypervisor.Problem("Rosetta", hypervisor.Poor, err)
	}
	return hypervisor.Finding{Topic: "Rosetta", Detail: "images for amd64 run translated"}
}

func inside(f facts) hypervisor.Finding {
	const topic = "nested virtualization"
	if !f.nested {
		return hypervisor.Finding{
			Topic: topic, Verdict: hypervisor.Poor,
			Detail: "machines cannot have virtualization = true: " + nestedWhy(false), Remedy: "use " + oldestForNested,
		}
	}
	return hypervisor.Finding{Topic: topic, Detail: "machines can have virtualization = true"}
}
