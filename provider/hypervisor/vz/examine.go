package vz

import (
	"errors"

	"github.com/stead-vm/stead/provider/hypervisor"
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
func findings(f facts) []hypervisor.Finding {
	found := []hypervisor.Finding{macOS(f), chip(f), signature(f)}
	if f.apple {
		found = append(found, translator(f))
	}
	return append(found, examineNested(f))
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
			Detail: f.chip + " cannot run virtual machines: this Mac is probably a virtual machine itself",
			Remedy: "run stead on the physical Mac",
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
			Detail: "cannot check it: " + f.signed.Error(), Remedy: signWithOurs,
		}
	}
	if !f.virtualize { // the framework may report that first
		return hypervisor.Finding{
			Topic: "entitlement", Verdict: hypervisor.Poor,
			Detail: "cannot check it on a Mac that cannot run virtual machines", Remedy: signWithOurs,
		}
	}
	return hypervisor.Finding{Topic: "entitlement", Detail: entitlement}
}

func translator(f facts) hypervisor.Finding {
	if err := checkRosetta(true, f.rosetta); err != nil {
		return hypervisor.Problem("Rosetta", hypervisor.Poor, err)
	}
	return hypervisor.Finding{Topic: "Rosetta", Detail: "runs programs of images for amd64"}
}

func examineNested(f facts) hypervisor.Finding {
	const topic = "nested virtualization"
	if !f.nested {
		return hypervisor.Finding{
			Topic: topic, Verdict: hypervisor.Poor,
			Detail: "machines cannot use virtualization = true: " + nestedWhy(false), Remedy: "use " + oldestForNested,
		}
	}
	return hypervisor.Finding{Topic: topic, Detail: "machines can use virtualization = true"}
}
