// Package doctor defines the findings of an examination of the host, each with a verdict and
// a remedy. The packages that examine a part of the host return them; `stead doctor` prints
// them.
package doctor

import (
	"fmt"

	"github.com/stead-vm/stead/provider/fault"
)

// Verdict rates a [Finding] by its effect on machines.
type Verdict uint8

// Verdicts of a [Finding].
const (
	Good Verdict = iota // as it should be
	Poor                // some machines cannot run, or run with limits
	Bad                 // no machine can run
	numVerdicts
)

func (v Verdict) String() string {
	if v < numVerdicts {
		return [...]string{"good", "poor", "bad"}[v]
	}
	return fmt.Sprintf("Verdict(%d)", uint8(v))
}

// Finding is the result of one check of the host.
type Finding struct {
	Topic   string // "QEMU", "macOS", "entitlement", …
	Verdict Verdict
	Detail  string // what was found, or what is wrong
	Remedy  string // what to do about it; empty if Good or unknown
}

// Problem returns a finding for a failed check, with the remedy of err, if it has one.
func Problem(topic string, v Verdict, err error) Finding {
	return Finding{Topic: topic, Verdict: v, Detail: err.Error(), Remedy: fault.Remedy(err)}
}

// Worst returns the worst verdict of the findings.
func Worst(findings []Finding) Verdict {
	worst := Good
	for _, f := range findings {
		worst = max(worst, f.Verdict)
	}
	return worst
}
