package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/charmbracelet/log"
	"github.com/spf13/cobra"

	"github.com/stead-vm/stead/provider"
	"github.com/stead-vm/stead/provider/hypervisor"
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
		Short: "Tell whether machines can run on this host, and how well",
		Long: "Look at what machines need of this host, and say what is wrong and what to do about it. No machine\n" +
			"is changed. The first time a small one may be booted for a moment, to see whether KVM runs guests.\n\n" +
			"The exit code is 1 when machines cannot run.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.level = log.InfoLevel // the hypervisor tells what takes it long
			o, err := a.options()
			if err != nil {
				return err
			}
			findings := provider.Examine(cmd.Context(), o)
			if err := a.cause(); err != nil {
				return err
			}
			if json {
				err = writeIndented(a.out, diagnosis(findings))
			} else {
				err = printFindings(a.out, styles(a.out), findings)
			}
			if err == nil && worst(findings) == hypervisor.Bad {
				err = exitError(1)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&json, "json", false, "print it as JSON")
	return cmd
}

func worst(findings []hypervisor.Finding) hypervisor.Verdict {
	w := hypervisor.Good
	for _, f := range findings {
		w = max(w, f.Verdict)
	}
	return w
}

func diagnosis(findings []hypervisor.Finding) doctorReport {
	r := doctorReport{Version: 1, Verdict: worst(findings).String(), Findings: []doctorFinding{}}
	for _, f := range findings {
		r.Findings = append(r.Findings, doctorFinding{f.Topic, f.Verdict.String(), f.Detail, f.Remedy})
	}
	return r
}

// printFindings prints a line for each, with what to do beneath, and what it all means.
func printFindings(w io.Writer, style palette, findings []hypervisor.Finding) error {
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
	_, err := fmt.Fprintf(w, "\n%s\n", style.bold(sentence(worst(findings))))
	return err
}

func mark(style palette, v hypervisor.Verdict) string {
	switch v {
	case hypervisor.Good:
		return style.add("✓")
	case hypervisor.Poor:
		return style.change("!")
	default:
		return style.remove("✗")
	}
}

func sentence(v hypervisor.Verdict) string {
	switch v {
	case hypervisor.Good:
		return "Machines run on this host."
	case hypervisor.Poor:
		return "Machines run on this host, though not all of them or not as well as they could: see the lines with a !."
	default:
		return "Machines cannot run on this host before the lines with a ✗ are mended."
	}
}
