package main

import (
	"io"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// visible are the commands that help lists, at every depth.
func visible(cmd *cobra.Command) []*cobra.Command {
	var all []*cobra.Command
	for _, c := range cmd.Commands() {
		if !c.Hidden {
			all = append(append(all, c), visible(c)...)
		}
	}
	return all
}

func TestHelpSaysWhatACommandDoes(t *testing.T) {
	root := newRootCmd(&app{out: &printer{io.Discard}, err: &printer{io.Discard}, in: os.Stdin})
	commands := visible(root)
	if len(commands) < 25 {
		t.Fatalf("only %d commands", len(commands))
	}
	for _, c := range commands {
		name := c.CommandPath()
		if c.Short == "" || len(c.Short) >= 60 || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: the description is not one line of under 60 characters: %q", name, c.Short)
		}
		if c.Short != "" && (c.Short[0] < 'A' || c.Short[0] > 'Z') {
			t.Errorf("%s: the description does not begin with a capital: %q", name, c.Short)
		}
		if c.Example == "" {
			t.Errorf("%s has no example", name)
		}
		for line := range strings.Lines(c.Example) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") && !strings.Contains(line, "stead ") {
				t.Errorf("%s: the example %q runs something else", name, line)
			}
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if strings.HasPrefix(f.DefValue, "-") || f.Usage == "" || strings.HasSuffix(f.Usage, ".") {
				t.Errorf("%s --%s: %q, default %q", name, f.Name, f.Usage, f.DefValue)
			}
		})
	}
}

func TestHelpListsDailyCommandsFirst(t *testing.T) {
	root := newRootCmd(&app{out: &printer{io.Discard}, err: &printer{io.Discard}, in: os.Stdin})
	var daily []string
	for _, c := range root.Commands() {
		if c.GroupID == root.Groups()[0].ID {
			daily = append(daily, c.Name())
		}
		if !c.Hidden && c.GroupID == "" {
			t.Errorf("%s is in no group", c.Name())
		}
	}
	if got := strings.Join(daily, " "); got != "plan apply status shell run" {
		t.Errorf("the daily commands are %s", got)
	}
}
