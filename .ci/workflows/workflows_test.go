// Package workflows tests that what runs in GitHub's workflows, with the rights to publish a
// release, cannot be changed by others.
package workflows

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pinned is an action at a commit, and the version that the commit has. A tag can be moved to
// other code.
var pinned = regexp.MustCompile(`^[\w.-]+/[\w./-]+@[0-9a-f]{40} # v[0-9]+\.[0-9]+\.[0-9]+$`)

// broad are permissions that a whole workflow must not have: only the job that needs them.
var broad = regexp.MustCompile(`(?m)^permissions:.*(write|\n  [a-z-]+: write)`)

// problems returns what is wrong with a workflow.
func problems(text string) []string {
	var found []string
	for line := range strings.Lines(text) {
		uses, ok := strings.CutPrefix(strings.TrimPrefix(strings.TrimSpace(line), "- "), "uses:")
		if uses = strings.TrimSpace(uses); ok && !strings.HasPrefix(uses, "./") && !pinned.MatchString(uses) {
			found = append(found, "not pinned by a commit with its version: "+uses)
		}
	}
	if !strings.Contains("\n"+text, "\npermissions:") {
		found = append(found, "no permissions: the default may be to write")
	}
	if broad.MatchString(text) {
		found = append(found, "all jobs may write: give the permission to the job that needs it")
	}
	return found
}

func TestWorkflowsUsePinnedActionsAndFewPermissions(t *testing.T) {
	var files []string
	for _, pattern := range []string{"../../.github/workflows/*.yml", "../../.github/workflows/*.yaml", "../../.github/actions/*/action.y*ml"} {
		matches, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, matches...)
	}
	if len(files) < 3 {
		t.Fatalf("only %v were found", files)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems(string(text)) {
			t.Errorf("%s: %s", filepath.Base(file), p)
		}
	}
}

func TestReleasesCarryProvenance(t *testing.T) {
	text, err := os.ReadFile("../../.github/workflows/release.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"uses: actions/attest-build-provenance@", "id-token: write", "attestations: write", "dist/SHA256SUMS"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("release.yml lacks %q", want)
		}
	}
}

func TestProblems(t *testing.T) {
	const commit = "11d5960a326750d5838078e36cf38b85af677262"
	tests := map[string]struct {
		text string
		want int
	}{
		"pinned":                      {"permissions: {}\n- uses: a/b@" + commit + " # v1.2.3\n", 0},
		"an action of the repository": {"permissions: {}\n- uses: ./.github/actions/x\n", 0},
		"a tag":                       {"permissions: {}\n- uses: a/b@v4\n", 1},
		"a tag in a named step":       {"permissions: {}\n  uses: a/b@v4\n", 1},
		"a short commit":              {"permissions: {}\n- uses: a/b@11d5960 # v1.2.3\n", 1},
		"no version":                  {"permissions: {}\n- uses: a/b@" + commit + "\n", 1},
		"no permissions":              {"jobs: {}\n", 1},
		"all jobs may write":          {"permissions:\n  contents: write\n", 1},
		"everything":                  {"permissions: write-all\n", 1},
		"one job may write":           {"permissions: {}\njobs:\n  a:\n    permissions:\n      contents: write\n", 0},
	}
	for name, tt := range tests {
		if got := problems(tt.text); len(got) != tt.want {
			t.Errorf("%s: %q, want %d problems", name, got, tt.want)
		}
	}
}
