package printable

import (
	"errors"
	"testing"
)

func TestUTF8(t *testing.T) {
	tests := map[string]struct {
		text, want string
		encoding   string
		offset     int
		fails      bool
	}{
		"plain":                            {text: "A=é\n", want: "A=é\n"},
		"empty":                            {},
		"a byte order mark":                {text: "\xef\xbb\xbfA", want: "A"},
		"UTF-16, little-endian":            {text: "\xff\xfeA\x00", encoding: "UTF-16", fails: true},
		"UTF-16, big-endian":               {text: "\xfe\xff\x00A", encoding: "UTF-16", fails: true},
		"UTF-16 without a byte order mark": {text: "A\x00=\x00", encoding: "UTF-16", fails: true},
		"the other order, without a mark":  {text: "\x00A\x00=", encoding: "UTF-16", fails: true},
		"Latin-1":                          {text: "A=\xe9", offset: 2, fails: true},
		"a replacement character":          {text: "\ufffd", want: "\ufffd"},
		"a NUL":                            {text: "AB\x00", want: "AB\x00"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := UTF8([]byte(tt.text))
			var e *EncodingError
			switch {
			case tt.fails && (!errors.As(err, &e) || e.Encoding != tt.encoding || e.Offset != tt.offset):
				t.Errorf("got %+v, want %q at %d", e, tt.encoding, tt.offset)
			case !tt.fails && (err != nil || string(got) != tt.want):
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}
