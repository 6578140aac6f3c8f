package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/stead-vm/stead/provider/doctor"
	"github.com/stead-vm/stead/provider/local"

	"github.com/charmbracelet/log"
	"github.com/spf13/cobra"
)

// doctorReport is `doctor --json`; schemas/doctor.schema.json describes it.
type doctorReport struct {
	Version  int             `json:"version"` // of this form; new keys do not raise it
	Verdict  string          `json:"verdict"` // the worst of the findings
	Findings []doctorFinding `json:"findings"`
}

type doctorFinding struct {
	Topic   string `json:"topic"`
	Verdict string `json:"verdict"`
	Detail  string `json:"detail"`
	Remedy  string `json:"remedy,omitempty"`
}

func newDoctorCmd(a *app) *cobra.Command {
	var json bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check that this host can run machines",
		Long: "Check everything that machines need on this host, and say how to fix what is wrong. Changes no\n" +
			"machine. The first run may boot a small test VM briefly, to check that KVM works.\n\n" +
			"Exits with 1 if machines cannot run.",
		Example: "stead doctor\nstead doctor --json",
		Args:    takesArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.level = log.InfoLevel // the hypervisor logs slow tests
			o, err := a.options()
			if err != nil {
				return err
			}
			findings := local.Examine(cmd.Context(), o)
			if err := a.cause(); err != nil {
				return err
			}
			if json {
				err = writeIndented(a.out, diagnosis(findings))
			} else {
				err = printFindings(a.out, styles(a.out), findings)
			}
			if err == nil && doctor.Worst(findings) == doctor.Bad {
				err = exitError(1)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&json, "json", false, "print the findings as JSON")
	return cmd
}

func diagnosis(findings []doctor.Finding) doctorReport {
	r := doctorReport{Version: 1, Verdict: doctor.Worst(findings).String(), Findings: []doctorFinding{}}
	for _, f := range findings {
		r.Findings = append(r.Findings, doctorFinding{f.Topic, f.Verdict.String(), f.Detail, f.Remedy})
	}
	return r
}

// printFindings prints a line for each finding, its remedy beneath, and the verdict.
func printFindings(w io.Writer, style palette, findings []doctor.Finding) error {
	width := 0
	for _, f := range findings {
		width = max(width, utf8.RuneCountInString(f.Topic))
	}
	margin := strings.Repeat(" ", width+4)
	for _, f := range findings {
		indented := strings.ReplaceAll(strings.TrimSpace(f.Detail), "\n", "\n"+margin)
		fmt.Fprintf(w, "%s %-*s  %s\n", mark(style, f.Verdict), width, f.Topic, indented)
		if f.Remedy != "" {
			fmt.Fprintf(w, "%s%s %s\n", margin, style.hint("Hint:"), f.Remedy)
		}
	}
	_, err := fmt.Fprintf(w, "\n%s\n", style.bold(sentence(doctor.Worst(findings))))
	return err
}

func mark(style palette, v doctor.Verdict) string {
	switch v {
	case doctor.Good:
		return style.add("✓")
	case doctor.Poor:
		return style.change("!")
	default:
		return style.remove("✗")
	}
}

func sentence(v doctor.Verdict) string {
	switch v {
	case doctor.Good:
		return "This host can run machines."
	case doctor.Poor:
		return "This host can run machines, with the limits marked !."
	default:
		return "This host cannot run machines. Fix the problems marked ✗ first."
	}
}
