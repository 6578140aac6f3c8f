// Package doctor holds what an examination of the host found: findings, each with a
// verdict and a remedy. Whoever examines something returns them; `stead doctor` prints
// them.
package doctor

import (
	"errors"
	"fmt"
)

// Verdict says what a finding means for machines.
type Verdict uint8

// Verdicts of a [Finding].
const (
	Good Verdict = iota // nothing to do
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

// Finding is one fact about the host that decides whether and how machines run.
type Finding struct {
	Topic   string // "QEMU", "macOS", "entitlement", …
	Verdict Verdict
	Detail  string // what was found, or what is wrong
	Remedy  string // what to do about it; empty when Good, or unknown
}

// Problem returns the finding that something failed, with err's remedy if it has one.
func Problem(topic string, v Verdict, err error) Finding {
	f := Finding{Topic: topic, Verdict: v, Detail: err.Error()}
	var r interface{ Remedy() string }
	if errors.As(err, &r) {
		f.Remedy = r.Remedy()
	}
	return f
}

// Worst returns the worst verdict of the findings.
func Worst(findings []Finding) Verdict {
	worst := Good
	for _, f := range findings {
		worst = max(worst, f.Verdict)
	}
	return worst
}
