// Package fault carries errors between stead's processes: from agent and supervisor to the
// command that a user reads. An error keeps its text, its remedy, and the types in its
// chain, so that errors.As works on the other side.
package fault

import (
	"encoding/json"
	"errors"
	"io"
	"reflect"
)

// Wire is an error on its way, in JSON.
type Wire struct {
	Message string  `json:"error"`
	Remedy  string  `json:"remedy,omitempty"`
	Types   []Cause `json:"types,omitempty"` // of the chain, outermost first
}

// Cause is one error of a chain whose type is not private to its package.
type Cause struct {
	Code   string                     `json:"code"` // package and type: "kernel.NotFetchedError"
	Fields map[string]json.RawMessage `json:"fields,omitempty"`
}

// ToWire prepares err for the other side. The remedy is that of the outermost error that
// has one.
func ToWire(err error) Wire {
	w := Wire{Message: err.Error()}
	walk(err, func(err error) {
		if r, ok := err.(interface{ Remedy() string }); ok && w.Remedy == "" { //nolint:errorlint // walks the tree itself
			w.Remedy = r.Remedy()
		}
		if e, ok := err.(*Error); ok { //nolint:errorlint // as above
			w.Types = append(w.Types, e.wire.Types...) // passed on as they came
		} else if t, ok := typed(err); ok {
			w.Types = append(w.Types, t)
		}
	})
	return w
}

// walk visits the errors of a tree, outermost first.
func walk(err error, visit func(error)) {
	visit(err)
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

var errorType = reflect.TypeFor[error]()

// typed describes err if it is a pointer to an exported struct. Fields that are errors
// keep their text.
func typed(err error) (Cause, bool) {
	v := reflect.ValueOf(err)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct || !exported(v.Type().Elem()) {
		return Cause{}, false
	}
	t := Cause{Code: v.Type().Elem().String(), Fields: map[string]json.RawMessage{}}
	for i := range v.Elem().NumField() {
		field, value := v.Elem().Type().Field(i), v.Elem().Field(i)
		if !field.IsExported() {
			continue
		}
		content := value.Interface()
		if field.Type == errorType && !value.IsNil() {
			content = value.Interface().(error).Error()
		}
		if text, err := json.Marshal(content); err == nil {
			t.Fields[field.Name] = text
		}
	}
	return t, true
}

func exported(t reflect.Type) bool {
	return t.Name() != "" && t.Name()[0] >= 'A' && t.Name()[0] <= 'Z'
}

// Write reports err to w, for [Read] at the other end.
func Write(w io.Writer, err error) error { return json.NewEncoder(w).Encode(ToWire(err)) }

// maxReport bounds what Read accepts, in bytes.
const maxReport = 1 << 20

// Read returns the error that Write reported, nil if there is none.
func Read(r io.Reader) error {
	var w Wire
	if err := json.NewDecoder(io.LimitReader(r, maxReport)).Decode(&w); err != nil || w.Message == "" {
		return nil
	}
	return w.Err()
}

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
	if into.Kind() != reflect.Pointer || into.Type().Elem().Kind() != reflect.Struct {
		return false
	}
	for _, t := range e.wire.Types {
		if t.Code == into.Type().Elem().String() {
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
		if v.Field(i).Type() == errorType {
			var message string
			if json.Unmarshal(text, &message) == nil && message != "" {
				v.Field(i).Set(reflect.ValueOf(errors.New(message)))
			}
			continue
		}
		_ = json.Unmarshal(text, v.Field(i).Addr().Interface())
	}
}
