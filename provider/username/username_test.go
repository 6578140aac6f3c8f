package username_test

import (
	"strings"
	"testing"

	"github.com/stead-vm/stead/provider/username"
)

func TestValid(t *testing.T) {
	for name, want := range map[string]bool{
		"ada": true, "Ada.Lovelace": true, "jdoe@corp.example": true, "_svc": true, "7of9": true, strings.Repeat("a", 32): true,
		"": false, strings.Repeat("a", 33): false, `CORP\jdoe`: false, "jörg": false, "ada lovelace": false, "-rf": false, ".": false,
		"..": false, "@include": false, "a:b": false, "a/b": false, "a\n": false, "%wheel": false, "a,b": false,
	} {
		if got := username.Valid(name); got != want {
			t.Errorf("Valid(%q) = %v", name, got)
		}
	}
}

func TestSuggest(t *testing.T) {
	for name, want := range map[string]string{
		`CORP\jdoe`: "jdoe", "jörg": "jorg", "Ada Lovelace": "ada-lovelace", "-rf": "rf", "李": "", "": "",
		strings.Repeat("x", 40): strings.Repeat("x", 32), " ada ": "ada",
	} {
		if got := username.Suggest(name); got != want {
			t.Errorf("Suggest(%q) = %q, want %q", name, got, want)
		}
	}
}

func FuzzSuggest(f *testing.F) {
	for _, name := range []string{`CORP\jdoe`, "jörg", "...-", "\xff\\", "a -"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if got := username.Suggest(name); got != "" && !username.Valid(got) {
			t.Errorf("Suggest(%q) = %q, which is not valid", name, got)
		}
	})
}
