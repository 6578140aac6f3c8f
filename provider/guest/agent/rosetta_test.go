//go:build linux

package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The kernel reads fields separated by colons: name, kind, offset, magic, mask, interpreter
// and flags.
func TestRosettaIsRegisteredForExecutablesOfAmd64(t *testing.T) {
	fields := strings.Split(strings.TrimSpace(rosettaFormat), ":")
	if len(fields) != 8 {
		t.Fatalf("%d fields: %q", len(fields), fields)
	}
	magic, mask := octets(t, fields[4]), octets(t, fields[5])
	if len(magic) != len(mask) || fields[2] != "M" || fields[6] != "/run/stead/rosetta/rosetta" || fields[7] != "CF" {
		t.Fatalf("registration %q", fields)
	}
	header := func(kind, machine byte) []byte { // of an ELF file: e_type, e_machine
		return []byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00" + string([]byte{kind, 0, machine, 0}))
	}
	for name, tt := range map[string]struct {
		header []byte
		want   bool
	}{
		"an executable for amd64":        {header(2, 62), true},
		"a position-independent one":     {header(3, 62), true},
		"an executable for arm64":        {header(2, 183), false},
		"a relocatable object for amd64": {header(1, 62), false},
	} {
		got := true
		for i := range magic {
			got = got && tt.header[i]&mask[i] == magic[i]&mask[i]
		}
		if got != tt.want {
			t.Errorf("%s: translated %v, want %v", name, got, tt.want)
		}
	}
}

func octets(t *testing.T, text string) []byte {
	t.Helper()
	var b []byte
	for text != "" {
		if strings.HasPrefix(text, `\x`) {
			var n byte
			for _, digit := range text[2:4] {
				n = n<<4 | byte(strings.IndexRune("0123456789abcdef", digit))
			}
			b, text = append(b, n), text[4:]
			continue
		}
		b, text = append(b, text[0]), text[1:]
	}
	return b
}

func TestSystemdKeepsRosetta(t *testing.T) {
	root := t.TempDir()
	for range 2 {
		if err := keepRosettaRegistered(root); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string][]string{
		"run/binfmt.d/stead-rosetta.conf":                        {rosettaFormat},
		"run/systemd/system/systemd-binfmt.service.d/stead.conf": {"\nExecStart=\n", "\nExecStop=\n", `systemd-binfmt "$$f"`},
	} {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Error(err)
		}
		for _, w := range want {
			if !strings.Contains(string(text), w) {
				t.Errorf("%s lacks %q: %s", name, w, text)
			}
		}
	}
}
