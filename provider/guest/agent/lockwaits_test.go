//go:build linux

package agent

import (
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/stead-vm/stead/provider/guest/lockwait"
)

func TestWaitsOfThreadsWithASignalEnd(t *testing.T) {
	var ended []string
	k := lockKeeper{
		read: func(attribute string) ([]byte, error) {
			if attribute == lockwait.Attribute {
				return lockwait.Encode([]lockwait.Wait{{ID: 1, Thread: 10}, {ID: 2, Thread: 20}, {ID: 3, Thread: 30}}), nil
			}
			ended = append(ended, attribute)
			return nil, nil
		},
		signalled: func(thread int) (bool, error) { return thread != 20, nil },
	}
	waiting, err := k.round()
	if err != nil || !waiting {
		t.Errorf("waiting: %v, %v", waiting, err)
	}
	if want := []string{lockwait.Interrupt(1), lockwait.Interrupt(3)}; !slices.Equal(ended, want) {
		t.Errorf("ended %q, want %q", ended, want)
	}
	k.read = func(string) ([]byte, error) { return nil, errNoWaits }
	if _, err := k.round(); !errors.Is(err, errNoWaits) {
		t.Errorf("another file server: %v", err)
	}
}

func TestSignalsOfAThread(t *testing.T) {
	status := func(pending, shared, blocked string) []byte {
		return []byte("Name:\tsh\nState:\tD (disk sleep)\nSigPnd:\t" + pending + "\nShdPnd:\t" + shared + "\nSigBlk:\t" + blocked + "\nSigIgn:\t0000000000000000\n")
	}
	const none, kill, term = "0000000000000000", "0000000000000100", "0000000000004000"
	for _, c := range []struct {
		pending, shared, blocked string
		want                     bool
	}{
		{none, none, none, false},
		{kill, none, none, true},
		{none, term, none, true},
		{none, term, term, false},
		{kill, term, term, true},
	} {
		if got, err := signalIn(status(c.pending, c.shared, c.blocked)); err != nil || got != c.want {
			t.Errorf("pending %s and %s, blocked %s: %v, want %v; %v", c.pending, c.shared, c.blocked, got, c.want, err)
		}
	}
	for _, bad := range []string{"", "Name:\tsh\n", "SigPnd:\tx\nShdPnd:\t0\nSigBlk:\t0\n"} {
		if got, err := signalIn([]byte(bad)); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
	if got, err := hasSignal(os.Getpid()); err != nil || got {
		t.Errorf("this process: %v, %v", got, err)
	}
}
