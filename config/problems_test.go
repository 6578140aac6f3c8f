package config

import (
	"errors"
	"flag"
	"fmt"
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
		want []string // the beginning of each problem: position, summary and detail
	}{
		"a misspelt attribute":                      {machine(`cpu = 2`), []string{`machines.hcl:3:3: Unsupported argument: Machine "m" has no argument "cpu". Did you mean "cpus"? Supported arguments:`}},
		"an attribute in camel case":                {machine(`homeMount = "rw"`), []string{`machines.hcl:3:3: Unsupported argument: Machine "m" has no argument "homeMount". Did you mean "home_mount"? Supported arguments:`}},
		"a shortened attribute":                     {machine(`mem = "2G"`), []string{`machines.hcl:3:3: Unsupported argument: Machine "m" has no argument "mem". Did you mean "memory"? Supported arguments:`}},
		"an attribute without a near name":          {machine(`colour = "red"`), []string{`machines.hcl:3:3: Unsupported argument: Machine "m" has no argument "colour". Supported arguments:`}},
		"a duplicate attribute":                     {machine("cpus = 1\n  cpus = 2"), []string{"machines.hcl:4:3: Attribute redefined"}},
		"a misspelt project":                        {`projetc = "a"`, []string{`machines.hcl:1:1: Unsupported argument: A project file has no argument "projetc". Did you mean "project"? Supported arguments: project.`}},
		"an invalid project name":                   {`project = "My App"`, []string{`machines.hcl:1:11: Invalid project name: "My App" is not a valid project name. Did you mean "my-app"?`}},
		"a misspelt block":                          {`machines "m" {}`, []string{`machines.hcl:1:1: Unsupported block type: A project file has no block "machines". Did you mean "machine"? Supported blocks: machine, moved.`}},
		"machine as an attribute":                   {`machine = "m"`, []string{`machines.hcl:1:1: Unsupported argument: "machine" is a block, not an argument. Write machine "NAME" { … }.`}},
		"an attribute as a block":                   {machine("services {}"), []string{`machines.hcl:3:3: Unsupported block type: "services" is an argument, not a block. Write services = VALUE.`}},
		"a block in a machine":                      {machine("port {}"), []string{`machines.hcl:3:3: Unsupported block type: Machine "m" has no block "port". Supported blocks: build, lifecycle.`}},
		"a machine without a name":                  {"machine {\nimage = \"alpine\"\n}", []string{`machines.hcl:1:1: Invalid machine block: A machine block has one name, not 0. Write machine "NAME" { … }.`}},
		"a machine with two names":                  {`machine "a" "b" { image = "alpine" }`, []string{`machines.hcl:1:1: Invalid machine block: A machine block has one name, not 2. Write machine "NAME" { … }.`}},
		"an upper-case name":                        {`machine "Dev_Box" { image = "alpine" }`, []string{`machines.hcl:1:9: Invalid machine name: "Dev_Box" is not a valid machine name. Did you mean "dev-box"?`}},
		"a name that ends in a dash":                {`machine "dev-" { image = "alpine" }`, []string{`machines.hcl:1:9: Invalid machine name: "dev-" is not a valid machine name. Did you mean "dev"?`}},
		"a name that is too long":                   {`machine "` + strings.Repeat("a", 64) + `" { image = "alpine" }`, []string{`machines.hcl:1:9: Invalid machine name: "aaaa`}},
		"two machines with one name":                {"machine \"m\" { image = \"a\" }\nmachine \"m\" { image = \"a\" }", []string{`machines.hcl:2:9: Duplicate machine: Machine "m" is already declared at machines.hcl:1. Each machine needs a unique name.`}},
		"a missing image":                           {`machine "m" {}`, []string{`machines.hcl:1:1: Missing required argument: Machine "m" has no image. Write image = "docker.io/library/debian:bookworm" or build { context = "." }.`}},
		"an empty image":                            {`machine "m" { image = "" }`, []string{`machines.hcl:1:23: Invalid value: image must not be empty. For example: image = "docker.io/library/debian:bookworm".`}},
		"an image without quotes":                   {`machine "m" { image = alpine }`, []string{`machines.hcl:1:23: Variables not allowed: image refers to the variable alpine, but a project file has no variables. Strings need double quotes: "alpine". image must be a string. For example: image = "docker.io/library/debian:bookworm".`}},
		"an image that is a number":                 {`machine "m" { image = 3 }`, []string{`machines.hcl:1:23: Invalid value: image must be a string, not 3. For example: image = "docker.io/library/debian:bookworm".`}},
		"an invalid image reference":                {`machine "m" { image = "Debian:12" }`, []string{`machines.hcl:1:23: Invalid image reference: "Debian:12" is not a valid image reference. Repository names are lower case.`}},
		"an image without its path":                 {`machine "m" { image = "oci:" }`, []string{`machines.hcl:1:23: Invalid image reference: "oci:" has no path after the colon.`}},
		"zero processors":                           {machine(`cpus = 0`), []string{`machines.hcl:3:10: Invalid value: cpus must be a whole number greater than 0, not 0. Remove the line to get half of the host's processors.`}},
		"half a processor":                          {machine(`cpus = 1.5`), []string{`machines.hcl:3:10: Invalid value: cpus must be a whole number greater than 0, not 1.5. Remove the line to get half of the host's processors.`}},
		"a negative number of processors":           {machine(`cpus = -1`), []string{`machines.hcl:3:10: Invalid value: cpus must be a whole number greater than 0, not -1. Remove the line to get half of the host's processors.`}},
		"a number of processors that overflows":     {machine(`cpus = 1e30`), []string{`machines.hcl:3:10: Invalid value: cpus must be a whole number greater than 0, not 1e+30. Remove the line to get half of the host's processors.`}},
		"a word for processors":                     {machine(`cpus = "four"`), []string{`machines.hcl:3:10: Invalid value: cpus must be a whole number greater than 0, not "four". Remove the line to get half of the host's processors.`}},
		"a list of processors":                      {machine(`cpus = [1]`), []string{`machines.hcl:3:10: Invalid value: cpus must be a whole number greater than 0, not a list. Remove the line to get half of the host's processors.`}},
		"an empty size":                             {machine(`memory = ""`), []string{`machines.hcl:3:12: Invalid value: memory must not be empty. For example: memory = "8G".`}},
		"an empty kernel":                           {machine(`kernel = ""`), []string{`machines.hcl:3:12: Invalid value: kernel must not be empty. For example: kernel = "./vmlinuz".`}},
		"too little memory":                         {machine(`memory = "512M"`), []string{`machines.hcl:3:12: Invalid value: memory must be at least 1G, not "512M". For example: memory = "8G".`}},
		"memory without a unit":                     {machine(`memory = 8`), []string{`machines.hcl:3:12: Invalid value: memory must be a whole number and a binary unit (M, G or T) in quotes, not 8. For example: memory = "8G".`}},
		"a fraction of memory":                      {machine(`memory = "1.5G"`), []string{`machines.hcl:3:12: Invalid value: memory must be a whole number and a binary unit (M, G or T) in quotes, not "1.5G". For example: memory = "8G".`}},
		"an unknown unit":                           {machine(`memory = "8X"`), []string{`machines.hcl:3:12: Invalid value: memory must be a whole number and a binary unit (M, G or T) in quotes, not "8X". For example: memory = "8G".`}},
		"a negative size":                           {machine(`memory = "-8G"`), []string{`machines.hcl:3:12: Invalid value: memory must be a whole number and a binary unit (M, G or T) in quotes, not "-8G". For example: memory = "8G".`}},
		"memory that is not a multiple of 1M":       {machine(`memory = "1073741825b"`), []string{`machines.hcl:3:12: Invalid value: memory must be a multiple of 1M, not "1073741825b". For example: memory = "8G".`}},
		"a disk that is too small":                  {machine(`disk = "1M"`), []string{`machines.hcl:3:10: Invalid value: disk must be at least 1G, not "1M". For example: disk = "64G".`}},
		"a disk that is too large":                  {machine(`disk = "2000P"`), []string{`machines.hcl:3:10: Invalid value: disk must be at most 1024P, not "2000P". For example: disk = "64G".`}},
		"a disk size that overflows":                {machine(`disk = "99999999999999999999P"`), []string{`machines.hcl:3:10: Invalid value: disk must be at most 1024P, not "99999999999999999999P". For example: disk = "64G".`}},
		"a kernel to download":                      {machine(`kernel = "https://example.org/vmlinuz"`), []string{`machines.hcl:3:12: Invalid kernel path: kernel must be the path of a local file, not "https://example.org/vmlinuz". Download the kernel and write kernel = "./vmlinuz".`}},
		"virtualization as a word":                  {machine(`virtualization = "yes"`), []string{`machines.hcl:3:20: Invalid value: virtualization must be true or false, not "yes".`}},
		"an unknown platform":                       {machine(`platform = "linux/s390x"`), []string{`machines.hcl:3:14: Invalid value: platform must be "linux/amd64" or "linux/arm64", not "linux/s390x".`}},
		"a user of a domain":                        {machine(`user = "CORP\\jdoe"`), []string{`machines.hcl:3:10: Invalid user name: "CORP\\jdoe" is not a valid user name. Did you mean "jdoe"? A user name consists of at most 32 letters`}},
		"an unknown home_mount":                     {machine(`home_mount = "rx"`), []string{`machines.hcl:3:16: Invalid value: home_mount must be "rw", "ro" or "none", not "rx". Did you mean "rw"?`}},
		"a home_mount without a near option":        {machine(`home_mount = "xx"`), []string{`machines.hcl:3:16: Invalid value: home_mount must be "rw", "ro" or "none", not "xx".` + "\n"}},
		"a home_mount that is not a string":         {machine(`home_mount = false`), []string{`machines.hcl:3:16: Invalid value: home_mount must be "rw", "ro" or "none", not false.`}},
		"services that are not a list":              {machine(`services = "postgresql"`), []string{`machines.hcl:3:14: Invalid value: services must be a list of strings, not "postgresql". For example: services = ["postgresql"].`}},
		"services that are an object":               {machine(`services = { a = 1 }`), []string{`machines.hcl:3:14: Invalid value: services must be a list of strings, not an object. For example: services = ["postgresql"].`}},
		"a service with a slash":                    {machine(`services = ["ok", "../x"]`), []string{`machines.hcl:3:21: Invalid service name: "../x" is not a valid service name. Write the name that "systemctl start" or "rc-service" takes, such as "postgresql".`}},
		"a service like an option":                  {machine(`services = ["--now"]`), []string{`machines.hcl:3:15: Invalid service name: "--now" is not a valid service name. Write the name that "systemctl start" or "rc-service" takes, such as "postgresql".`}},
		"a service that is null":                    {machine(`services = [null]`), []string{`machines.hcl:3:15: Invalid value: Each element of services must be a string, not null.`}},
		"a service without quotes":                  {machine(`services = ["ok", postgresql]`), []string{`machines.hcl:3:21: Variables not allowed: services refers to the variable postgresql, but a project file has no variables. Strings need double quotes: "postgresql". services must be a list of strings. For example: services = ["postgresql"].`}},
		"a duplicate service":                       {machine(`services = ["redis", "redis.service"]`), []string{`machines.hcl:3:24: Duplicate service: services already lists "redis". The names "redis" and "redis.service" mean the same service.`}},
		"an image and a build":                      {machine("build {}"), []string{`machines.hcl:2:3: Conflicting image and build: Machine "m" has both an image and a build block. Remove one of them.`}},
		"two builds":                                {"machine \"m\" {\n  build {}\n  build {}\n}", []string{`machines.hcl:3:3: Duplicate build block: Machine "m" already has a build block, at machines.hcl:2. Remove one of them.`}},
		"build as an attribute":                     {machine(`build = "."`), []string{`machines.hcl:3:3: Unsupported argument: "build" is a block, not an argument. Write build { context = "." }.`}},
		"a build with a name":                       {"machine \"m\" {\n  build \"x\" {}\n}", []string{`machines.hcl:2:9: Unexpected name: A build block has no name. Write build { … }.`}},
		"a misspelt attribute of a build":           {build(`dockerfil = "x"`), []string{`machines.hcl:2:11: Unsupported argument: A build block has no argument "dockerfil". Did you mean "dockerfile"? Supported arguments: context, dockerfile, target, args.`}},
		"a block in a build":                        {"machine \"m\" {\n build {\n  x {}\n }\n}", []string{`machines.hcl:3:3: Unsupported block type: A build block cannot contain a block "x". Supported arguments: context, dockerfile, target, args.`}},
		"a build's arguments as a list":             {build(`args = ["A=1"]`), []string{`machines.hcl:2:18: Invalid value: args must be an object, not a list. For example: args = { VERSION = "1.2" }.`}},
		"a build argument that is a list":           {build(`args = { A = [1] }`), []string{`machines.hcl:2:18: Invalid build argument: Build argument "A" must be a string, a number or a bool, not a list.`}},
		"an invalid build argument name":            {build(`args = { "A-B" = 1 }`), []string{`machines.hcl:2:18: Invalid build argument name: "A-B" is not a valid build argument name. A name consists of letters, digits and underscores, and does not start with a digit.`}},
		"an empty build context":                    {build(`context = ""`), []string{`machines.hcl:2:21: Invalid value: context must not be empty. For example: context = ".".`}},
		"an unknown state":                          {machine(`state = "up"`), []string{`machines.hcl:3:11: Invalid value: state must be "running" or "stopped", not "up".`}},
		"an unknown on_image_change":                {machine("lifecycle {\n on_image_change = \"ask\"\n}"), []string{`machines.hcl:4:20: Invalid value: on_image_change must be "replace" or "keep", not "ask".`}},
		"two lifecycles":                            {machine("lifecycle {}\nlifecycle {}"), []string{`machines.hcl:4:1: Duplicate lifecycle block: Machine "m" already has a lifecycle block, at machines.hcl:3. Remove one of them.`}},
		"lifecycle as an attribute":                 {machine(`lifecycle = {}`), []string{`machines.hcl:3:3: Unsupported argument: "lifecycle" is a block, not an argument. Write lifecycle { prevent_destroy = true }.`}},
		"a dependency that is not declared":         {machine(`depends_on = ["n"]`), []string{`machines.hcl:3:17: Reference to undeclared machine: depends_on names machine "n", which this file does not declare. Did you mean "m"?`}},
		"a dependency on itself":                    {machine(`depends_on = ["m"]`), []string{`machines.hcl:3:17: Self-reference: Machine "m" cannot depend on itself. Remove it from depends_on.`}},
		"a duplicate dependency":                    {two("db", "") + two("m", `depends_on = ["db", "db"]`), []string{`machines.hcl:7:23: Duplicate dependency: depends_on already lists machine "db".`}},
		"a dependency cycle":                        {two("a", `depends_on = ["c"]`) + two("b", `depends_on = ["a"]`) + two("c", `depends_on = ["b"]`), []string{`machines.hcl:1:1: Dependency cycle: Machines depend on each other: a -> c -> b -> a. Remove one of these depends_on entries.`}},
		"a move without a new name":                 {two("m", "") + "moved {\n from = \"x\"\n}", []string{`machines.hcl:5:1: Missing required argument: A moved block needs the argument "to". For example: to = "new-name".`}},
		"a move of a declared machine":              {two("m", "") + two("x", "") + "moved {\n from = \"x\"\n to = \"m\"\n}", []string{`machines.hcl:9:1: Moved machine is still declared: Machine "x" moves to "m", but is still declared at machines.hcl:5. Remove that block or this moved block.`}},
		"a move to an undeclared machine":           {"moved {\n from = \"x\"\n to = \"m\"\n}", []string{`machines.hcl:1:1: Move to undeclared machine: Machine "x" moves to "m", which this file does not declare. Declare machine "m" or remove this moved block.`}},
		"a move to itself":                          {"moved {\n from = \"x\"\n to = \"x\"\n}", []string{`machines.hcl:1:1: Redundant move: from and to both name machine "x". Remove this moved block.`}},
		"two moves to one name":                     {two("m", "") + "moved {\n from = \"x\"\n to = \"m\"\n}\nmoved {\n from = \"y\"\n to = \"m\"\n}", []string{`machines.hcl:9:1: Ambiguous move: Another moved block already moves a machine to "m". Remove one of them.`}},
		"a call of a function":                      {machine(`cpus = max(1, 2)`), []string{`machines.hcl:3:10: Function calls not allowed: cpus calls the function max, but a project file has no functions. cpus must be a whole number greater than 0. For example: cpus = 4.`}},
		"a variable":                                {machine(`cpus = var.n[0]`), []string{`machines.hcl:3:10: Variables not allowed: cpus refers to the variable var.n[0], but a project file has no variables. cpus must be a whole number greater than 0. For example: cpus = 4.`}},
		"a variable in a string":                    {machine(`memory = "${var.n}G"`), []string{`machines.hcl:3:15: Variables not allowed: memory refers to the variable var.n, but a project file has no variables. memory must be a whole number`}},
		"an option without quotes":                  {machine(`home_mount = rw`), []string{`machines.hcl:3:16: Variables not allowed: home_mount refers to the variable rw, but a project file has no variables. Strings need double quotes: "rw". home_mount must be "rw", "ro" or "none".`}},
		"a word for a number without quotes":        {machine(`cpus = two`), []string{`machines.hcl:3:10: Variables not allowed: cpus refers to the variable two, but a project file has no variables. cpus must be`}},
		"a dependency as in Terraform":              {two("db", "") + two("m", `depends_on = [machine.db]`), []string{`machines.hcl:7:17: Variables not allowed: depends_on refers to the variable machine.db, but a project file has no variables. Strings need double quotes: "db".`}},
		"an attribute of a local variable":          {machine(`services = [for s in ["a"] : s.name]`), []string{`machines.hcl:3:33: Unsupported attribute: `}},
		"an unknown variable in a for":              {machine(`services = [for s in ["a"] : t]`), []string{`machines.hcl:3:32: Variables not allowed: services refers to the variable t,`}},
		"broken syntax hides what follows":          {"machine \"m\" {\n  cpu = \n}\n", []string{`machines.hcl:2:9: Invalid expression`}},
		"an unclosed block":                         {"machine \"m\" {", []string{`machines.hcl:1:13: Unclosed configuration block`}},
		"several problems in the order of the file": {"x = 1\n" + machine("cpus = 0\n  memory = \"1M\"") + "\nproject = \"A\"", []string{"machines.hcl:1:1:", "machines.hcl:4:10:", "machines.hcl:5:12:", "machines.hcl:7:11:"}},
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
				text := fmt.Sprintf("%s:%d: %s: %s\n", problem.Pos, problem.Column, problem.Summary, oneLine(problem.Detail))
				if !strings.HasPrefix(text, tt.want[i]) {
					t.Errorf("problem %d is\n%s\nwant\n%s", i, text, tt.want[i])
				}
			}
		})
	}
}

func TestProblemsShowTheSource(t *testing.T) {
	src, err := os.ReadFile("testdata/problems.hcl")
	if err != nil {
		t.Fatal(err)
	}
	_, err = parseText(string(src))
	if err == nil {
		t.Fatal("parse accepted testdata/problems.hcl")
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

func TestErrorsHaveNoControlCharacters(t *testing.T) {
	_, err := parseText("x = \"\x1b[2J\"\r\n")
	if err == nil {
		t.Fatal("parse accepted an unknown attribute")
	}
	if strings.ContainsAny(err.Error(), "\x1b\r") {
		t.Errorf("the message repeats control characters: %q", err.Error())
	}
}

func TestInvisibleCharactersAreRefused(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"an escape sequence in an image":    {`image = "evil\u001b[1A\rgood"`, "image contains the invisible character U+001B"},
		"a carriage return in a kernel":     {`kernel = "./evil\rgood"`, "kernel contains the invisible character U+000D"},
		"a line feed in an image":           {`image = "a\n  + machine.b  create"`, "image contains the invisible character U+000A"},
		"text from right to left":           {`image = "debian\u202e"`, "image contains the invisible character U+202E"},
		"a zero-width space":                {`image = "debian\u200b"`, "image contains the invisible character U+200B"},
		"an escape sequence in a context":   {"build {\n context = \"a\\u001b[2J\"\n}", "context contains the invisible character U+001B"},
		"an escape sequence in a platform":  {`platform = "linux/amd64\u001b"`, "platform contains the invisible character U+001B"},
		"an escape sequence in an argument": {"build {\n args = { A = \"a\\u001b[2J\" }\n}", "Build argument \"A\" contains the invisible character U+001B"},
		"lines in an argument":              {"build {\n args = { A = \"a\\n\\tb\" }\n}", ""},
		"a wide space":                      {`kernel = "./Neuer\u00a0Ordner/vmlinux"`, ""},
		"a wide space at the end":           {`kernel = "./vmlinux\u00a0"`, "kernel begins or ends with the character U+00A0 (it looks like a space)"},
		"a wide space in a size":            {"memory = \"8\u00a0G\"", "The text contains the character U+00A0 (it looks like a space)."},
		"a wide space in a service":         {"services = [\"a\u00a0b\"]", "The text contains the character U+00A0 (it looks like a space)."},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := parseText("machine \"dev\" {\n" + tt.text + "\n}")
			switch {
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("parse = %v, want %q", err, tt.want)
			case tt.want == "" && err != nil && strings.Contains(err.Error(), "invisible"):
				t.Errorf("parse = %v", err)
			}
		})
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
			t.Error("an error with no text")
		}
	})
}
