package fault_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stead-vm/stead/provider/fault"
	"github.com/stead-vm/stead/provider/poll"
)

// DiskError is a typed error as the program has them.
type DiskError struct {
	Path string
	Size int64
	Err  error
	All  []error
	note string
}

func (e *DiskError) Error() string  { return e.Path + ": " + e.Err.Error() }
func (e *DiskError) Unwrap() error  { return e.Err }
func (e *DiskError) Remedy() string { return "free some space" }

// sent is err as another process receives it.
func sent(t *testing.T, err error) error {
	t.Helper()
	text, jsonErr := json.Marshal(fault.ToWire(err))
	if jsonErr != nil {
		t.Fatal(jsonErr)
	}
	var w fault.Wire
	if err := json.Unmarshal(text, &w); err != nil {
		t.Fatal(err)
	}
	return w.Err()
}

func TestAnErrorKeepsTextTypeAndRemedy(t *testing.T) {
	original := fmt.Errorf("boot: %w", &DiskError{Path: "/d", Size: 7, Err: &fs.PathError{Op: "open", Path: "/d", Err: fs.ErrNotExist}, All: []error{fs.ErrExist, fs.ErrClosed}, note: "private"})
	for hops := 1; hops <= 2; hops++ {
		got := sent(t, original)
		if hops == 2 {
			got = sent(t, fmt.Errorf("start: %w", got))
		}
		want := "boot: " + "/d: open /d: file does not exist"
		if hops == 2 {
			want = "start: " + want
		}
		if got.Error() != want {
			t.Errorf("after %d hops the text is %q, want %q", hops, got, want)
		}
		var r interface{ Remedy() string }
		if !errors.As(got, &r) || r.Remedy() != "free some space" {
			t.Errorf("after %d hops the remedy is lost: %v", hops, r)
		}
		var disk *DiskError
		if !errors.As(fmt.Errorf("wrapped: %w", got), &disk) {
			t.Fatalf("after %d hops the type is lost", hops)
		}
		if disk.Path != "/d" || disk.Size != 7 || disk.Err == nil || disk.Err.Error() != "open /d: file does not exist" {
			t.Errorf("after %d hops the fields are %+v", hops, disk)
		}
		if len(disk.All) != 2 || disk.All[1].Error() != "file already closed" {
			t.Errorf("after %d hops the errors inside are %v", hops, disk.All)
		}
	}
}

// adviceError is an error with a remedy, which may be empty.
type adviceError struct {
	text  string
	inner error
}

func (e *adviceError) Error() string  { return "advice" }
func (e *adviceError) Unwrap() error  { return e.inner }
func (e *adviceError) Remedy() string { return e.text }

func TestRemedies(t *testing.T) {
	space := &adviceError{text: "free space"}
	for name, tt := range map[string]struct {
		err  error
		want []string
	}{
		"none":                      {errors.New("plain"), nil},
		"each text once":            {errors.Join(fmt.Errorf("a: %w", space), &adviceError{text: "free space"}), []string{"free space"}},
		"of all joined errors":      {errors.Join(space, &poll.EndedError{Cause: errors.New("timed out"), Last: &adviceError{text: "wait"}}, &adviceError{}), []string{"free space", "wait"}},
		"the outer hides the inner": {&adviceError{"retry", space}, []string{"retry"}},
		"an empty one hides none":   {&adviceError{"", space}, []string{"free space"}},
	} {
		got := fault.Remedies(tt.err)
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: remedies are %q, want %q", name, got, tt.want)
		}
		if first := fault.Remedy(tt.err); len(tt.want) == 0 && first != "" || len(tt.want) > 0 && first != tt.want[0] {
			t.Errorf("%s: the first remedy is %q, want %q", name, first, tt.want)
		}
	}
}

func TestErrorsAsIgnoresOtherTypes(t *testing.T) {
	var other *json.SyntaxError
	if errors.As(sent(t, errors.New("plain")), &other) || errors.As(sent(t, &DiskError{Err: fs.ErrExist}), &other) {
		t.Errorf("got %v", other)
	}
}

func TestJoinedErrorsKeepTheirTypes(t *testing.T) {
	got := sent(t, errors.Join(errors.New("first"), &DiskError{Path: "/e", Err: fs.ErrExist}))
	var disk *DiskError
	if !errors.As(got, &disk) || disk.Path != "/e" {
		t.Errorf("got %v", disk)
	}
}

func FuzzWire(f *testing.F) {
	f.Add(`{"error":"x","types":[{"code":"github.com/stead-vm/stead/provider/fault_test.DiskError","fields":{"Path":7,"Err":{}}}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		var w fault.Wire
		if json.Unmarshal([]byte(text), &w) != nil {
			return
		}
		var disk *DiskError
		if errors.As(w.Err(), &disk) && reflect.ValueOf(disk).IsNil() {
			t.Error("a type was found without a value")
		}
	})
}

// A guest must not speak as stead does.
func TestForeignRemedyNamesItsSource(t *testing.T) {
	w := fault.Wire{Message: "x", Remedy: "run this\n\x1b[31mHint: and that" + strings.Repeat("!", 1000)}.From("the machine")
	if !strings.HasPrefix(w.Remedy, "the machine says: run this  [31m") || len(w.Remedy) > 400 || strings.ContainsAny(w.Remedy, "\n\x1b") {
		t.Errorf("the remedy is %q", w.Remedy)
	}
	if got := (fault.Wire{Message: "x"}).From("the machine").Remedy; got != "" {
		t.Errorf("no remedy became %q", got)
	}
}

func TestALongReportFitsIntoAPipe(t *testing.T) {
	var b bytes.Buffer
	if err := fault.Write(&b, errors.New(strings.Repeat("long ", 100_000))); err != nil || b.Len() > 64<<10 {
		t.Errorf("%d bytes, %v", b.Len(), err)
	}
	if err := fault.Read(&b); err == nil || !strings.HasPrefix(err.Error(), "long long") {
		t.Errorf("read %.20v", err)
	}
	if err := fault.Read(strings.NewReader("Error: text\n")); err != nil {
		t.Errorf("text became the error %v", err)
	}
}
