// Package fault carries errors between stead's processes: from agent and supervisor to the
// command that a user reads. An error keeps its text, its remedy, and the types in its
// chain, so that errors.As works on the other side.
package fault

import (
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"unicode"
)

// Wire is an error on its way, in JSON.
type Wire struct {
	Message string  `json:"error"`
	Remedy  string  `json:"remedy,omitempty"`
	Types   []Cause `json:"types,omitempty"` // of the chain, outermost first
}

// Cause is one error of a chain whose type is not private to its package.
type Cause struct {
	Code   string                     `json:"code"` // package path and type: "…/provider/kernel.NotFetchedError"
	Fields map[string]json.RawMessage `json:"fields,omitempty"`
}

// ToWire prepares err for the other side.
func ToWire(err error) Wire {
	w := Wire{Message: err.Error(), Remedy: Remedy(err)}
	walk(err, func(err error) (deeper bool) {
		if e, ok := err.(*Error); ok { //nolint:errorlint // walks the tree itself
			w.Types = append(w.Types, e.wire.Types...) // passed on as they came
		} else if t, ok := typed(err); ok {
			w.Types = append(w.Types, t)
		}
		return true
	})
	return w
}

// Remedies returns what to do about err, and about the errors joined in it, each text once.
// An error says it with a method Remedy() string. A text that is not empty
// hides those of the errors that it wraps.
func Remedies(err error) []string {
	var found []string
	walk(err, func(err error) (deeper bool) {
		r, ok := err.(interface{ Remedy() string }) //nolint:errorlint // walks the tree itself
		if !ok || r.Remedy() == "" {
			return true
		}
		if !slices.Contains(found, r.Remedy()) {
			found = append(found, r.Remedy())
		}
		return false
	})
	return found
}

// Remedy returns the first of [Remedies], or "" if there is none.
func Remedy(err error) string {
	if all := Remedies(err); len(all) > 0 {
		return all[0]
	}
	return ""
}

// walk visits the errors of a tree, outermost first. visit reports whether to visit those
// that err wraps, too.
func walk(err error, visit func(error) (deeper bool)) {
	if !visit(err) {
		return
	}
	switch u := err.(type) { //nolint:errorlint // walks the tree itself
	case interface{ Unwrap() error }:
		if inner := u.Unwrap(); inner != nil {
			walk(inner, visit)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range u.Unwrap() {
			walk(inner, visit)
		}
	}
}

var (
	errorType  = reflect.TypeFor[error]()
	errorsType = reflect.TypeFor[[]error]()
)

// typed describes err if it is a pointer to an exported struct. Fields that are errors
// keep their text.
func typed(err error) (Cause, bool) {
	v := reflect.ValueOf(err)
	if v.Kind() != reflect.Pointer || v.IsNil() || code(v.Type().Elem()) == "" {
		return Cause{}, false
	}
	t := Cause{Code: code(v.Type().Elem()), Fields: map[string]json.RawMessage{}}
	for i := range v.Elem().NumField() {
		field, value := v.Elem().Type().Field(i), v.Elem().Field(i)
		if !field.IsExported() {
			continue
		}
		content := value.Interface()
		switch {
		case field.Type == errorType && !value.IsNil():
			content = value.Interface().(error).Error()
		case field.Type == errorsType:
			var texts []string
			for _, inner := range value.Interface().([]error) {
				texts = append(texts, inner.Error())
			}
			content = texts
		}
		if text, err := json.Marshal(content); err == nil {
			t.Fields[field.Name] = text
		}
	}
	return t, true
}

// code names an exported struct type, "" for any other.
func code(t reflect.Type) string {
	if t.Kind() != reflect.Struct || t.Name() == "" || t.Name()[0] < 'A' || t.Name()[0] > 'Z' {
		return ""
	}
	return t.PkgPath() + "." + t.Name()
}

// Write reports err to w, for [Read] at the other end. A report that a pipe could not hold
// is cut to the text's beginning: its reader may wait for the writer to end.
func Write(w io.Writer, err error) error {
	report := ToWire(err)
	if text, jsonErr := json.Marshal(report); jsonErr != nil || len(text) > maxReport {
		report = Wire{Message: report.Message[:min(len(report.Message), maxReport/8)]}
	}
	return json.NewEncoder(w).Encode(report)
}

// maxReport bounds a report, in bytes: less than a pipe holds.
const maxReport = 48 << 10

// Read returns the error that Write reported, nil if there is none.
func Read(r io.Reader) error {
	var w Wire
	if err := json.NewDecoder(io.LimitReader(r, maxReport)).Decode(&w); err != nil || w.Message == "" {
		return nil
	}
	return w.Err()
}

// From returns w as reported by an untrusted process, such as a guest: the lines of its message
// are indented, so that they cannot be taken for stead's, and its remedy names that process, on
// one line without control characters.
func (w Wire) From(who string) Wire {
	w.Message = strings.ReplaceAll(w.Message, "\n", "\n  ")
	if w.Remedy != "" {
		w.Remedy = who + " says: " + strings.Map(func(r rune) rune {
			if unicode.IsControl(r) {
				return ' '
			}
			return r
		}, w.Remedy[:min(len(w.Remedy), maxForeignRemedy)])
	}
	return w
}

// maxForeignRemedy bounds a remedy that is not stead's own, in bytes.
const maxForeignRemedy = 300

// Error is an error of another process.
type Error struct{ wire Wire }

// Err returns the error that w describes.
func (w Wire) Err() error { return &Error{w} }

func (e *Error) Error() string { return e.wire.Message }

// Remedy returns what the original error says to do about it; may be empty.
func (e *Error) Remedy() string { return e.wire.Remedy }

// As sets target, a pointer to an error type, to the error of that type in the original
// chain. errors.As calls it.
func (e *Error) As(target any) bool {
	into := reflect.ValueOf(target).Elem() // errors.As has checked that it is a pointer
	if into.Kind() != reflect.Pointer || code(into.Type().Elem()) == "" {
		return false
	}
	for _, t := range e.wire.Types {
		if t.Code == code(into.Type().Elem()) {
			made := reflect.New(into.Type().Elem())
			t.fill(made.Elem())
			into.Set(made)
			return true
		}
	}
	return false
}

// fill sets the fields of a struct from those that t carries. What does not fit stays
// zero.
func (t Cause) fill(v reflect.Value) {
	for i := range v.NumField() {
		text, ok := t.Fields[v.Type().Field(i).Name]
		if !ok || !v.Field(i).CanSet() {
			continue
		}
		switch v.Field(i).Type() {
		case errorType:
			var message string
			if json.Unmarshal(text, &message) == nil && message != "" {
				v.Field(i).Set(reflect.ValueOf(errors.New(message)))
			}
		case errorsType:
			var messages []string
			if json.Unmarshal(text, &messages) != nil {
				continue
			}
			inner := make([]error, len(messages))
			for j, message := range messages {
				inner[j] = errors.New(message)
			}
			v.Field(i).Set(reflect.ValueOf(inner))
		default:
			content := reflect.New(v.Field(i).Type())
			if json.Unmarshal(text, content.Interface()) == nil {
				v.Field(i).Set(content.Elem())
			}
		}
	}
}
