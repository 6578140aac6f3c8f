package printable

import (
	"bytes"
	"unicode/utf8"
)

// EncodingError reports text that is not UTF-8.
type EncodingError struct {
	Encoding string // what it is instead, "UTF-16"; empty if that is unknown
	Offset   int    // of the first byte that is not UTF-8
}

func (e *EncodingError) Error() string {
	if e.Encoding == "" {
		return "the text is not encoded as UTF-8"
	}
	return "the text is encoded as " + e.Encoding + ", not as UTF-8"
}

// Remedy says what to do in an editor.
func (e *EncodingError) Remedy() string { return "save the file as UTF-8" }

// UTF8 returns the text of a file without its byte order mark. The error for text in another
// encoding is an *[EncodingError].
func UTF8(text []byte) ([]byte, error) {
	if rest, marked := bytes.CutPrefix(text, []byte("\xef\xbb\xbf")); marked {
		text = rest
	} else if is16(text) {
		return nil, &EncodingError{Encoding: "UTF-16"}
	}
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && n == 1 {
			return nil, &EncodingError{Offset: i}
		}
		i += n
	}
	return text, nil
}

// is16 reports whether text has the byte order mark of UTF-16, or begins with an ASCII character
// in two bytes.
func is16(text []byte) bool {
	return bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) ||
		len(text) >= 2 && len(text)%2 == 0 && (text[0] == 0) != (text[1] == 0)
}
