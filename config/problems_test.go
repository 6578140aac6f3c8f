package config

import (
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestProblems(t *testing.T) {
	machine := func(body string) string { return "machine \"m\" {\n  image = \"alpine\"\n  " + body + "\n}" }
	two := func(name, body string) string {
		return "machine \"" + name + "\" {\n  image = \"alpine\"\n  " + body + "\n}\n"
	}
	build := func(body string) string { return "machine \"m\" {\n  build { " + body + " }\n}" }
	tests := map[string]struct {
		text string
		want []string // the beginning of each problem
	}{
		"a misspelt attribute":                  {machine(`cpu = 2`), []string{`machines.hcl:3:3: machine "m" has no attribute "cpu". Did you mean "cpus"?`}},
		"an attribute in camel case":            {machine(`homeMount = "rw"`), []string{`machines.hcl:3:3: machine "m" has no attribute "homeMount". Did you mean "home_mount"?`}},
		"a shortened attribute":                 {machine(`mem = "2G"`), []string{`machines.hcl:3:3: machine "m" has no attribute "mem". Did you mean "memory"?`}},
		"an attribute like no other":            {machine(`colour = "red"`), []string{`machines.hcl:3:3: machine "m" has no attribute "colour".` + "\n"}},
		"an attribute twice":                    {machine("cpus = 1\n  cpus = 2"), []string{"machines.hcl:4:3: Attribute redefined"}},
		"a misspelt project":                    {`projetc = "a"`, []string{`machines.hcl:1:1: a project file has no attribute "projetc". Did you mean "project"?`}},
		"an invalid project name":               {`project = "My App"`, []string{`machines.hcl:1:11: "My App" cannot name a project. Did you mean "my-app"?`}},
		"a misspelt block":                      {`machines "m" {}`, []string{`machines.hcl:1:1: a project file has no block "machines". Did you mean "machine"?`}},
		"machine as an attribute":               {`machine = "m"`, []string{`machines.hcl:1:1: machine is a block`}},
		"an attribute as a block":               {machine("services {}"), []string{`machines.hcl:3:3: services is an attribute`}},
		"a block in a machine":                  {machine("port {}"), []string{`machines.hcl:3:3: machine "m" has no block "port"`}},
		"a machine without a name":              {"machine {\nimage = \"alpine\"\n}", []string{`machines.hcl:1:1: a machine has one name, not 0`}},
		"a machine with two names":              {`machine "a" "b" { image = "alpine" }`, []string{`machines.hcl:1:1: a machine has one name, not 2`}},
		"an upper-case name":                    {`machine "Dev_Box" { image = "alpine" }`, []string{`machines.hcl:1:9: "Dev_Box" cannot name a machine. Did you mean "dev-box"?`}},
		"a name that ends in a dash":            {`machine "dev-" { image = "alpine" }`, []string{`machines.hcl:1:9: "dev-" cannot name a machine.`}},
		"a name that is too long":               {`machine "` + strings.Repeat("a", 64) + `" { image = "alpine" }`, []string{`machines.hcl:1:9: "aaaa`}},
		"two machines of one name":              {"machine \"m\" { image = \"a\" }\nmachine \"m\" { image = \"a\" }", []string{`machines.hcl:2:9: machine "m" is declared twice, first at machines.hcl:1`}},
		"a missing image":                       {`machine "m" {}`, []string{`machines.hcl:1:1: machine "m" has no image`}},
		"an empty image":                        {`machine "m" { image = "" }`, []string{`machines.hcl:1:23: image must not be empty`}},
		"an image without quotes":               {`machine "m" { image = alpine }`, []string{`machines.hcl:1:23: alpine is not a value`}},
		"an image that is a number":             {`machine "m" { image = 3 }`, []string{`machines.hcl:1:23: image must be text in quotes, not 3`}},
		"an image that cannot be":               {`machine "m" { image = "Debian:12" }`, []string{`machines.hcl:1:23: "Debian:12" is not an image reference`}},
		"an image without its path":             {`machine "m" { image = "oci:" }`, []string{`machines.hcl:1:23: image "oci:" names no path`}},
		"no processors":                         {machine(`cpus = 0`), []string{`machines.hcl:3:10: cpus must be a whole number greater than 0, not 0`}},
		"half a processor":                      {machine(`cpus = 1.5`), []string{`machines.hcl:3:10: cpus must be a whole number greater than 0, not 1.5`}},
		"a negative number of processors":       {machine(`cpus = -1`), []string{`machines.hcl:3:10: cpus must be a whole number greater than 0, not -1`}},
		"too many processors to count":          {machine(`cpus = 1e30`), []string{`machines.hcl:3:10: cpus must be a whole number greater than 0, not 1e+30`}},
		"a word for processors":                 {machine(`cpus = "four"`), []string{`machines.hcl:3:10: cpus must be a whole number greater than 0, not "four"`}},
		"a list of processors":                  {machine(`cpus = [1]`), []string{`machines.hcl:3:10: cpus must be a whole number greater than 0, not a list`}},
		"an empty size":                         {machine(`memory = ""`), []string{`machines.hcl:3:12: memory must not be empty`}},
		"an empty kernel":                       {machine(`kernel = ""`), []string{`machines.hcl:3:12: kernel must not be empty`}},
		"too little memory":                     {machine(`memory = "512M"`), []string{`machines.hcl:3:12: memory must be at least 1G, not "512M"`}},
		"memory without a unit":                 {machine(`memory = 8`), []string{`machines.hcl:3:12: memory needs a unit`}},
		"a fraction of memory":                  {machine(`memory = "1.5G"`), []string{`machines.hcl:3:12: memory cannot be "1.5G"`}},
		"an unknown unit":                       {machine(`memory = "8X"`), []string{`machines.hcl:3:12: memory cannot be "8X"`}},
		"a negative size":                       {machine(`memory = "-8G"`), []string{`machines.hcl:3:12: memory cannot be "-8G"`}},
		"memory in uneven bytes":                {machine(`memory = "1073741825b"`), []string{`machines.hcl:3:12: memory must be whole MiB`}},
		"a disk that is too small":              {machine(`disk = "1M"`), []string{`machines.hcl:3:10: disk must be at least 1G, not "1M"`}},
		"a disk beyond the largest":             {machine(`disk = "2000P"`), []string{`machines.hcl:3:10: disk "2000P" is more than any machine can have`}},
		"a disk beyond counting":                {machine(`disk = "99999999999999999999P"`), []string{`machines.hcl:3:10: disk "99999999999999999999P" is more than any machine can have`}},
		"a kernel to download":                  {machine(`kernel = "https://example.org/vmlinuz"`), []string{`machines.hcl:3:12: kernel must be the path of a file`}},
		"virtualization as a word":              {machine(`virtualization = "yes"`), []string{`machines.hcl:3:20: virtualization must be true or false, not "yes"`}},
		"an unknown platform":                   {machine(`platform = "linux/x86_64"`), []string{`machines.hcl:3:14: platform must be "linux/amd64" or "linux/arm64", not "linux/x86_64"`}},
		"an unknown way to mount the home":      {machine(`home_mount = "rx"`), []string{`machines.hcl:3:16: home_mount must be "rw", "ro" or "none", not "rx". Did you mean "rw"?`}},
		"a way to mount the home like no other": {machine(`home_mount = "xx"`), []string{`machines.hcl:3:16: home_mount must be "rw", "ro" or "none", not "xx".` + "\n"}},
		"no way to mount the home":              {machine(`home_mount = false`), []string{`machines.hcl:3:16: home_mount must be text in quotes, not false`}},
		"services that are no list":             {machine(`services = "postgresql"`), []string{`machines.hcl:3:14: services must be a list, not "postgresql"`}},
		"services that are an object":           {machine(`services = { a = 1 }`), []string{`machines.hcl:3:14: services must be a list, not an object`}},
		"a service with a slash":                {machine(`services = ["ok", "../x"]`), []string{`machines.hcl:3:21: "../x" cannot name a service`}},
		"a service like an option":              {machine(`services = ["--now"]`), []string{`machines.hcl:3:15: "--now" cannot name a service`}},
		"a service that is null":                {machine(`services = [null]`), []string{`machines.hcl:3:15: a service must be text in quotes, not null`}},
		"a service without quotes":              {machine(`services = ["ok", postgresql]`), []string{`machines.hcl:3:21: postgresql is not a value`}},
		"a service twice":                       {machine(`services = ["redis", "redis.service"]`), []string{`machines.hcl:3:24: service "redis.service" is listed twice`}},
		"an image and a build":                  {machine("build {}"), []string{`machines.hcl:2:3: machine "m" has an image and a build block`}},
		"two builds":                            {"machine \"m\" {\n  build {}\n  build {}\n}", []string{`machines.hcl:3:3: machine "m" has two build blocks`}},
		"build as an attribute":                 {machine(`build = "."`), []string{`machines.hcl:3:3: build is a block`}},
		"a build with a name":                   {"machine \"m\" {\n  build \"x\" {}\n}", []string{`machines.hcl:2:9: a build block has no name`}},
		"a misspelt attribute of a build":       {build(`dockerfil = "x"`), []string{`machines.hcl:2:11: a build block has no attribute "dockerfil". Did you mean "dockerfile"?`}},
		"a block in a build":                    {"machine \"m\" {\n build {\n  x {}\n }\n}", []string{`machines.hcl:3:3: a build block has no blocks, and no "x"`}},
		"a build's arguments as a list":         {build(`args = ["A=1"]`), []string{`machines.hcl:2:18: args must be an object, not a list`}},
		"a build argument that is a list":       {build(`args = { A = [1] }`), []string{`machines.hcl:2:18: build argument A must be text, not a list`}},
		"a build argument with a strange name":  {build(`args = { "A-B" = 1 }`), []string{`machines.hcl:2:18: "A-B" cannot name a build argument`}},
		"a build without a place":               {build(`context = ""`), []string{`machines.hcl:2:21: context must not be empty`}},
		"an unknown state":                      {machine(`state = "up"`), []string{`machines.hcl:3:11: state must be "running" or "stopped", not "up"`}},
		"an unknown policy for images":          {machine("lifecycle {\n on_image_change = \"ask\"\n}"), []string{`machines.hcl:4:20: on_image_change must be "replace" or "keep", not "ask"`}},
		"two lifecycles":                        {machine("lifecycle {}\nlifecycle {}"), []string{`machines.hcl:4:1: machine "m" has two lifecycle blocks`}},
		"lifecycle as an attribute":             {machine(`lifecycle = {}`), []string{`machines.hcl:3:3: lifecycle is a block`}},
		"a dependency that is not declared":     {machine(`depends_on = ["n"]`), []string{`machines.hcl:3:17: there is no machine "n". Did you mean "m"?`}},
		"a dependency on itself":                {machine(`depends_on = ["m"]`), []string{`machines.hcl:3:17: machine "m" cannot depend on itself`}},
		"a dependency twice":                    {two("db", "") + two("m", `depends_on = ["db", "db"]`), []string{`machines.hcl:7:23: machine "db" is listed twice`}},
		"a circle of dependencies":              {two("a", `depends_on = ["c"]`) + two("b", `depends_on = ["a"]`) + two("c", `depends_on = ["b"]`), []string{`machines.hcl:1:1: machines wait for each other: a -> c -> b -> a`}},
		"a move without an end":                 {two("m", "") + "moved {\n from = \"x\"\n}", []string{`machines.hcl:5:1: a moved block has no to`}},
		"a move of what is still there":         {two("m", "") + two("x", "") + "moved {\n from = \"x\"\n to = \"m\"\n}", []string{`machines.hcl:9:1: machine "x" has moved to "m" and is still declared`}},
		"a move to nowhere":                     {"moved {\n from = \"x\"\n to = \"m\"\n}", []string{`machines.hcl:1:1: machine "x" has moved to "m", which is not declared`}},
		"a move to itself":                      {"moved {\n from = \"x\"\n to = \"x\"\n}", []string{`machines.hcl:1:1: machine "x" moved to its own name`}},
		"a move twice":                          {two("m", "") + "moved {\n from = \"x\"\n to = \"m\"\n}\nmoved {\n from = \"y\"\n to = \"m\"\n}", []string{`machines.hcl:9:1: machine "y" or "m" has moved twice`}},
		"a call of a function":                  {machine(`cpus = max(1, 2)`), []string{`machines.hcl:3:10: Function calls not allowed`}},
		"broken syntax hides what follows":      {"machine \"m\" {\n  cpu = \n}\n", []string{`machines.hcl:2:9: Invalid expression`}},
		"an unclosed block":                     {"machine \"m\" {", []string{`machines.hcl:1:13: Unclosed configuration block`}},
		"several problems in the file order":    {"x = 1\n" + machine("cpus = 0\n  memory = \"1M\"") + "\nproject = \"A\"", []string{"machines.hcl:1:1:", "machines.hcl:4:10:", "machines.hcl:5:12:", "machines.hcl:7:11:"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, err := parseText(tt.text)
			var got Diagnostics
			if !errors.As(err, &got) || p != nil {
				t.Fatalf("parse = %v, %v; want Diagnostics", p, err)
			}
			if len(got) != len(tt.want) {
				t.Fatalf("%d problems, want %d:\n%v", len(got), len(tt.want), err)
			}
			for i, problem := range got {
				if !strings.HasPrefix(problem.String(), tt.want[i]) {
					t.Errorf("problem %d is\n%s\nwant\n%s", i, problem, tt.want[i])
				}
			}
		})
	}
}

func TestProblemsAreShownWithTheirSource(t *testing.T) {
	src, err := os.ReadFile("testdata/problems.hcl")
	if err != nil {
		t.Fatal(err)
	}
	_, err = parseText(string(src))
	if err == nil {
		t.Fatal("testdata/problems.hcl was accepted")
	}
	got := err.Error() + "\n"
	const golden = "testdata/problems.golden"
	if *update {
		write(t, golden, got)
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("output mismatch (-want +got; -update rewrites):\n%s", d)
	}
}

func TestNothingInAFileSteersTheTerminal(t *testing.T) {
	_, err := parseText("x = \"\x1b[2J\"\r\n")
	if err == nil {
		t.Fatal("an unknown attribute was accepted")
	}
	if strings.ContainsAny(err.Error(), "\x1b\r") {
		t.Errorf("the message repeats control characters: %q", err.Error())
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "\xff\xfe", "machine \"m\" {\n  image = \"alpine\"\n}\n", "machine {", "project = \"${1/0}\"",
		"machine \"m\" {\n  image = \"a\"\n  services = [null, 1, [], \"a\", \"a\"]\n  cpus = 1e99\n}",
		"machine \"m\" {\n  image = <<X\na\nX\n  memory = \"99999999999999999999P\"\n}",
		"machine \"é\" {\n\timage\t= \"docker-archive:~\"\n}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		p, err := parse(src, place{shown: "f", dir: "/proj", base: FileName, home: "/home/ada"})
		var d Diagnostics
		switch {
		case err == nil:
			for _, m := range p.Machines {
				if !isName(m.Name) || m.Image == "" || m.CPUs < 0 || m.Memory < 0 || m.Disk < 0 {
					t.Errorf("accepted %+v", m)
				}
			}
		case !errors.As(err, &d) || len(d) == 0 || p != nil:
			t.Errorf("parse = %v, %v; want Diagnostics alone", p, err)
		case strings.TrimSpace(err.Error()) == "":
			t.Error("an error without a text")
		}
	})
}
