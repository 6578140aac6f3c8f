//go:build linux

package lease

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func granted(address string) Lease {
	return Lease{
		Address: netip.MustParsePrefix(address + "/24"),
		Renew:   30 * time.Minute, Rebind: 50 * time.Minute, Expire: time.Hour,
	}
}

// world is a server and a machine, and records what happens between them, by the minute.
type world struct {
	start  time.Time
	answer func(minute int) (Lease, error)
	events []string
}

func (w *world) minute() int { return int(time.Since(w.start) / time.Minute) }

func (w *world) note(format string, args ...any) {
	w.events = append(w.events, fmt.Sprintf("%d ", w.minute())+fmt.Sprintf(format, args...))
}

func (w *world) Discover(context.Context) (Lease, error) {
	w.note("discover")
	return w.answer(w.minute())
}

func (w *world) Renew(_ context.Context, l Lease, anyone bool) (Lease, error) {
	w.note("renew %v of %v", l.Address.Addr(), map[bool]string{false: "its server", true: "anyone"}[anyone])
	return w.answer(w.minute())
}

func (w *world) apply(_, now Lease) error {
	w.note("use %v", now.Address)
	return nil
}

func TestKeeper(t *testing.T) {
	silence := func(int) (Lease, error) { return Lease{}, &NoAnswerError{Card: "eth0"} }
	until := func(m int, first func(int) (Lease, error), then Lease) func(int) (Lease, error) {
		return func(now int) (Lease, error) {
			if now < m {
				return first(now)
			}
			return then, nil
		}
	}
	tests := map[string]struct {
		have    Lease
		answer  func(minute int) (Lease, error)
		wakes   []int // minutes
		minutes int
		want    []string
	}{
		"renewed by its server at half of its time": {
			have: granted("10.0.0.1"), answer: until(0, nil, granted("10.0.0.1")), minutes: 61,
			want: []string{"30 renew 10.0.0.1 of its server", "60 renew 10.0.0.1 of its server"},
		},
		"renewed with another address, which is used": {
			have: granted("10.0.0.1"), answer: until(0, nil, granted("10.0.0.2")), minutes: 61,
			want: []string{"30 renew 10.0.0.1 of its server", "30 use 10.0.0.2/24", "60 renew 10.0.0.2 of its server"},
		},
		"renewed by any server if its own does not answer": {
			have: granted("10.0.0.1"), answer: until(51, silence, granted("10.0.0.1")), minutes: 60,
			want: []string{
				"30 renew 10.0.0.1 of its server", "40 renew 10.0.0.1 of its server", "45 renew 10.0.0.1 of its server",
				"47 renew 10.0.0.1 of its server", "48 renew 10.0.0.1 of its server", "49 renew 10.0.0.1 of its server",
				"50 renew 10.0.0.1 of anyone", "55 renew 10.0.0.1 of anyone",
			},
		},
		"expired: asks for another": {
			have:   Lease{Address: netip.MustParsePrefix("10.0.0.1/24"), Renew: 2 * time.Minute, Rebind: 3 * time.Minute, Expire: 4 * time.Minute},
			answer: until(5, silence, granted("10.0.0.2")), minutes: 6,
			want: []string{
				"2 renew 10.0.0.1 of its server", "3 renew 10.0.0.1 of anyone", "4 use invalid Prefix",
				"4 discover", "4 discover", "4 discover", "4 discover", "5 discover", "5 use 10.0.0.2/24",
			},
		},
		"refused: asks for another": {
			have: granted("10.0.0.1"), minutes: 31,
			answer: func() func(int) (Lease, error) {
				refused := false
				return func(int) (Lease, error) {
					if !refused {
						refused = true
						return Lease{}, fmt.Errorf("it is taken: %w", ErrRefused)
					}
					return granted("10.0.0.2"), nil
				}
			}(),
			want: []string{"30 renew 10.0.0.1 of its server", "30 use invalid Prefix", "30 discover", "30 use 10.0.0.2/24"},
		},
		"after a wake: asks any server, and soon again": {
			have: granted("10.0.0.1"), answer: until(7, silence, granted("10.0.0.3")), wakes: []int{5}, minutes: 8,
			want: []string{
				"5 renew 10.0.0.1 of anyone", "6 renew 10.0.0.1 of anyone", "7 renew 10.0.0.1 of anyone", "7 use 10.0.0.3/24",
			},
		},
		"no lease at boot: asks until granted": {
			answer: until(1, silence, granted("10.0.0.1")), minutes: 3,
			want: []string{"0 discover", "0 discover", "0 discover", "0 discover", "1 discover", "1 use 10.0.0.1/24"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{start: time.Now(), answer: tt.answer}
				wake := make(chan struct{})
				for _, m := range tt.wakes {
					time.AfterFunc(time.Duration(m)*time.Minute, func() { wake <- struct{}{} })
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(tt.minutes)*time.Minute+time.Second)
				defer cancel()
				k := Keeper{Server: w, Apply: w.apply, Wake: wake, Log: slog.New(slog.DiscardHandler)}
				k.Run(ctx, tt.have)
				if !slices.Equal(w.events, tt.want) {
					t.Errorf("got  %q\nwant %q", w.events, tt.want)
				}
			})
		})
	}
}
