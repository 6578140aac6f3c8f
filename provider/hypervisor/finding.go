package hypervisor

import (
	"errors"
	"fmt"
)

// Verdict is what something about the host means for machines.
type Verdict uint8

// Verdicts of a [Finding].
const (
	Good Verdict = iota // as it should be
	Poor                // machines run, but not all or not as well as they could
	Bad                 // no machine runs
	numVerdicts
)

func (v Verdict) String() string {
	if v < numVerdicts {
		return [...]string{"good", "poor", "bad"}[v]
	}
	return fmt.Sprintf("Verdict(%d)", uint8(v))
}

// Finding is one thing about the host that decides how machines run.
type Finding struct {
	Topic   string // "QEMU", "macOS", "entitlement", …
	Verdict Verdict
	Detail  string // what was found, or what is wrong
	Remedy  string // what to do about it; empty when Good, or unknown
}

// Problem is the finding that something failed, with the remedy that err has, if any.
func Problem(topic string, v Verdict, err error) Finding {
	f := Finding{Topic: topic, Verdict: v, Detail: err.Error()}
	var r interface{ Remedy() string }
	if errors.As(err, &r) {
		f.Remedy = r.Remedy()
	}
	return f
}
