package size

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParse(t *testing.T) {
	tests := map[string]struct {
		text string
		want int64 // -1: refused
	}{
		"a bare number is bytes":           {"1073741824", 1 << 30},
		"a letter is a binary unit":        {"8G", 8 << 30},
		"lower case":                       {"512m", 512 << 20},
		"two letters are binary, too":      {"4gb", 4 << 30},
		"three letters":                    {"4GiB", 4 << 30},
		"a space before the unit":          {"4 G", 4 << 30},
		"white space around":               {" 4G\n", 4 << 30},
		"bytes":                            {"7b", 7},
		"petabytes":                        {"1P", 1 << 50},
		"a fraction is refused":            {"1.5G", -1},
		"a negative number is refused":     {"-1G", -1},
		"an empty text is refused":         {"", -1},
		"a unit alone is refused":          {"G", -1},
		"an unknown unit is refused":       {"1X", -1},
		"two numbers are refused":          {"1G 2M", -1},
		"a size that overflows is refused": {"99999999999P", -1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(tt.text)
			if tt.want < 0 {
				if err == nil || !strings.Contains(err.Error(), "is not a size") && !errors.Is(err, ErrTooLarge) {
					t.Fatalf("Parse(%q) = %d, %v; want an error", tt.text, got, err)
				}
				return
			}
			if err != nil || got != tt.want {
				t.Errorf("Parse(%q) = %d, %v; want %d", tt.text, got, err, tt.want)
			}
		})
	}
}

func TestSetting(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0", 1: "1", 1023: "1023", 1024: "1K", 1536 << 20: "1536M", 8 << 30: "8G", 1 << 40: "1T",
		1 << 50: "1P", 3 << 50: "3P", 1 << 60: "1024P", 1<<50 + 1: "1125899906842625", 1<<30 + 512: "1073742336",
	} {
		if got := Setting(n); got != want {
			t.Errorf("Setting(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestMeasured(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 134951731: "128.7 MiB", 1288490189: "1.2 GiB", 64 << 30: "64.0 GiB",
	} {
		if got := Measured(n); got != want {
			t.Errorf("Measured(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestParseReadsTheTextOfSetting(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(0, 1<<50).Draw(t, "n") * rapid.SampledFrom([]int64{1, 1, 1 << 10}).Draw(t, "unit")
		if got, err := Parse(Setting(n)); err != nil || got != n {
			t.Fatalf("Parse(Setting(%d)) = %d, %v", n, got, err)
		}
	})
}
