package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEnvFile(t *testing.T) {
	t.Setenv("FROM_HOST", "host's")
	long := strings.Repeat("x", 70_000)
	tests := map[string]struct {
		text string
		want map[string]string
		err  string // after the file's name
	}{
		"values, comments and empty lines":    {"# A=1\n\nA=1\n  # B\nB=2 # 3\nC=\n", map[string]string{"A": "1", "B": "2 # 3", "C": ""}, ""},
		"quotes and blanks are of the value":  {"A='b c' \n\tB= d=e\t", map[string]string{"A": "'b c' ", "B": " d=e\t"}, ""},
		"lines of Windows":                    {"A=1\r\n\r\nB=2\r\n", map[string]string{"A": "1", "B": "2"}, ""},
		"a name alone is the host's variable": {"FROM_HOST\nNOT_ON_HOST\n", map[string]string{"FROM_HOST": "host's"}, ""},
		"the last one wins":                   {"A=1\nA=2", map[string]string{"A": "2"}, ""},
		"names with other characters":         {"spring.url=1\na-b=2\nÄ=3", map[string]string{"spring.url": "1", "a-b": "2", "Ä": "3"}, ""},
		"a byte order mark":                   {"\xef\xbb\xbfA=1\n", map[string]string{"A": "1"}, ""},
		"a long line":                         {"A=" + long, map[string]string{"A": long}, ""},
		"UTF-16":                              {"\xff\xfeA\x00=\x001\x00", nil, ":1: the text is encoded as UTF-16, not as UTF-8"},
		"Latin-1":                             {"A=1\nB=\xe9\n", nil, ":2: the text is not encoded as UTF-8"},
		"a blank in a name":                   {"A=1\n\nbad name=secret\n", nil, `:3: the name "bad name" contains a blank or invisible character (U+0020)`},
		"a blank after a name":                {"A =secret", nil, `:1: the name "A " contains a blank`},
		"export":                              {"export A=secret", nil, `:1: the name "export A" contains a blank`},
		"a zero-width space":                  {"A\u200b=secret", nil, `:1: the name "A\u200b" contains a blank or invisible character (U+200B)`},
		"a digit":                             {"1X=secret", nil, `:1: the name "1X" begins with a digit`},
		"no name":                             {"A=1\n=secret", nil, ":2: there is no name before the equals sign"},
		"a reserved name":                     {"STEAD_USER=secret", nil, ":1: the name STEAD_USER is reserved"},
		"a NUL":                               {"ABC=\x00", nil, ":1: the value of ABC contains a NUL (U+0000)"},
		"more than Linux passes on":           {"A=" + strings.Repeat("x", 131_070), nil, ":1: A has 131072 bytes with its value; Linux allows 131071"},
		"as much as Linux passes on":          {"A=" + strings.Repeat("x", 131_069), map[string]string{"A": strings.Repeat("x", 131_069)}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "env")
			if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := runOptions{envFile: file}.variables()
			if tt.err != "" {
				if err == nil || !strings.HasPrefix(err.Error(), file+tt.err) || strings.Contains(err.Error(), "secret") {
					t.Errorf("got %v, want %s", err, tt.err)
				}
				return
			}
			if d := cmp.Diff(tt.want, got); err != nil || d != "" {
				t.Errorf("%v, variables (-want +got):\n%s", err, d)
			}
		})
	}
}

func TestEnvFlagsReplaceThoseOfTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(file, []byte("A=file\nB=file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := runOptions{envFile: file, env: []string{"A=flag"}}.variables()
	if d := cmp.Diff(map[string]string{"A": "flag", "B": "file"}, got); err != nil || d != "" {
		t.Errorf("%v, variables (-want +got):\n%s", err, d)
	}
	if _, err := (runOptions{env: []string{"bad name=secret"}}).variables(); err == nil || !strings.HasPrefix(err.Error(), `--env: the name "bad name"`) {
		t.Errorf("got %v", err)
	}
}
