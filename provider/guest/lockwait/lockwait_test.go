package lockwait

import (
	"slices"
	"testing"
)

func TestWaitsAreReadAsTheyWereWritten(t *testing.T) {
	for _, waits := range [][]Wait{nil, {{ID: 1, Thread: 42}}, {{ID: 1, Thread: 42}, {ID: 1 << 63, Thread: 4194304}}} {
		got, err := Decode(Encode(waits))
		if err != nil || !slices.Equal(got, waits) {
			t.Errorf("%v is read as %v; %v", waits, got, err)
		}
	}
	many := make([]Wait, 100_000)
	if value := Encode(many); len(value) > MaxSize {
		t.Errorf("the value has %d bytes", len(value))
	} else if got, err := Decode(value); err != nil || len(got) == 0 {
		t.Errorf("what fits is read as %d waits; %v", len(got), err)
	}
	for _, value := range []string{"1", "x 2\n", "1 2\n3\n"} {
		if got, err := Decode([]byte(value)); err == nil {
			t.Errorf("%q is read as %v", value, got)
		}
	}
}

func TestInterruptNamesOneWait(t *testing.T) {
	if id, ok := ParseInterrupt(Interrupt(7)); !ok || id != 7 {
		t.Errorf("the name of wait 7 is read as %d, %v", id, ok)
	}
	for _, name := range []string{Attribute, "trusted.stead.lock-interrupt.", "trusted.stead.lock-interrupt.x", "user.7"} {
		if id, ok := ParseInterrupt(name); ok {
			t.Errorf("%q ends wait %d", name, id)
		}
	}
}
