//go:build linux

package vhostuser_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/share/vhostuser"
	"github.com/stead-vm/stead/provider/share/vhostuser/vhosttest"
)

func TestStoppedRingReturnsItsIndex(t *testing.T) {
	f, _ := start(t, vhostuser.Device{Handle: upper})
	f.Start(allFeatures)
	q := f.Queue(1, 8, ringAt, true)
	q.Start(0)
	for range 11 {
		ask(t, f, q, "x")
	}
	if base := q.Stop(); base != 11 {
		t.Errorf("stopped at %d, want 11", base)
	}
	q.Start(11) // as after a pause of the machine
	ask(t, f, q, "continue")
	if base := q.Stop(); base != 12 {
		t.Errorf("stopped at %d, want 12", base)
	}
}

func TestStoppingARingWaitsForItsRequests(t *testing.T) {
	taken := make(chan *vhostuser.Request, 1)
	interrupted := make(chan struct{})
	var once sync.Once
	f, _ := start(t, vhostuser.Device{
		Handle:    func(q *vhostuser.Request) { taken <- q },
		Interrupt: func() { once.Do(func() { close(interrupted) }) },
	})
	f.Start(allFeatures)
	q := f.Queue(1, 8, ringAt, true)
	q.Start(0)
	q.Put(3, room(outAt, 16))
	q.Offer(3)
	request := <-taken
	go func() {
		<-interrupted
		request.Done(7)
	}()
	if base := q.Stop(); base != 1 {
		t.Errorf("stopped at %d, want 1", base)
	}
	if u, ok := q.Answered(); !ok || u != (vhosttest.Used{Head: 3, Len: 7}) {
		t.Errorf("answer %+v, %v after the ring had stopped", u, ok)
	}
}

func TestStuckRequestEndsTheSession(t *testing.T) {
	taken := make(chan *vhostuser.Request, 1)
	f, result := start(t, vhostuser.Device{
		Handle:   func(q *vhostuser.Request) { taken <- q },
		Patience: time.Millisecond,
	})
	f.Start(allFeatures)
	q := f.Queue(1, 8, ringAt, true)
	q.Start(0)
	q.Put(0, room(outAt, 16))
	q.Offer(0)
	request := <-taken
	f.Send(vhosttest.GetVringBase, vhosttest.State(1, 0))
	if err := <-result; !errors.Is(err, vhostuser.ErrStuck) {
		t.Errorf("Serve returned %v, want ErrStuck", err)
	}
	clear(request.Out[0]) // the memory stays mapped until the request ends
	request.Done(16)
}

func TestDisabledRingTakesNoRequests(t *testing.T) {
	f, _ := start(t, vhostuser.Device{Handle: upper})
	f.Start(allFeatures)
	q := f.Queue(1, 8, ringAt, true)
	q.Start(0)
	f.Acked(vhosttest.SetVringEnable, vhosttest.State(1, 0))
	in := text(f, inAt, "late")
	in.Flags, in.Next = vhosttest.Next, 1
	q.Put(0, in)
	q.Put(1, room(outAt, 100))
	q.Offer(0)
	f.AskWord(vhosttest.GetFeatures) // gives the back-end time
	if _, ok := q.Answered(); ok {
		t.Error("a disabled ring answered")
	}
	f.Acked(vhosttest.SetVringEnable, vhosttest.State(1, 1))
	expect(t, f, q, "late")
}

func TestMemoryMayBeReplacedDuringARequest(t *testing.T) {
	taken := make(chan *vhostuser.Request, 1)
	f, _ := start(t, vhostuser.Device{Handle: func(q *vhostuser.Request) { taken <- q }})
	f.Start(allFeatures)
	q := f.Queue(1, 8, ringAt, true)
	q.Start(0)
	for range 5 {
		q.Put(0, room(outAt, 100))
		q.Offer(0)
		request := <-taken
		f.SendMemory()
		f.AskWord(vhosttest.GetFeatures)
		request.Done(copy(request.Out[0], "FROM BEFORE"))
		expect(t, f, q, "from before")
	}
}

func TestServeEndsWithItsFrontEndOrItsContext(t *testing.T) {
	t.Run("front-end that disconnects", func(t *testing.T) {
		f, result := start(t, vhostuser.Device{Handle: upper})
		f.Start(allFeatures)
		q := f.Queue(1, 8, ringAt, true)
		q.Start(0)
		ask(t, f, q, "bye")
		_ = f.Conn.Close()
		if err := <-result; err != nil {
			t.Errorf("Serve returned %v", err)
		}
	})
	t.Run("connection without a message", func(t *testing.T) {
		f, result := start(t, vhostuser.Device{Handle: upper})
		_ = f.Conn.Close()
		if err := <-result; !errors.Is(err, vhostuser.ErrIdle) {
			t.Errorf("Serve returned %v, want ErrIdle", err)
		}
	})
	t.Run("context ends", func(t *testing.T) {
		_, theirs := pair(t)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		err := vhostuser.Serve(ctx, theirs, vhostuser.Device{Handle: upper, Log: slog.New(slog.DiscardHandler)})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Serve returned %v, want context.Canceled", err)
		}
	})
}

func TestInvalidMessagesAreRefused(t *testing.T) {
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(event) })
	region := func(size, offset uint64) []byte {
		return vhosttest.MemTable(vhosttest.Region{Guest: 0, Size: size, User: 0, Offset: offset})
	}
	tests := map[string]struct {
		request uint32
		payload []byte
		fds     []int
	}{
		"unknown message":                {99, nil, nil},
		"features that were not offered": {vhosttest.SetFeatures, vhosttest.Word(1 << 50), nil},
		"memory without a descriptor":    {vhosttest.SetMemTable, region(4096, 0), nil},
		"memory larger than its file":    {vhosttest.SetMemTable, region(1<<40, 0), []int{event}},
		"memory size that overflows":     {vhosttest.SetMemTable, region(^uint64(0), 4096), []int{event}},
		"truncated memory table":         {vhosttest.SetMemTable, []byte{1, 0, 0, 0}, []int{event}},
		"ring that does not exist":       {vhosttest.SetVringNum, vhosttest.State(99, 8), nil},
		"ring of size 0":                 {vhosttest.SetVringNum, vhosttest.State(1, 0), nil},
		"ring size not a power of two":   {vhosttest.SetVringNum, vhosttest.State(1, 12), nil},
		"ring that is too large":         {vhosttest.SetVringNum, vhosttest.State(1, 1<<16), nil},
		"kick event without descriptor":  {vhosttest.SetVringKick, vhosttest.Word(1), nil},
		"ring without kick events":       {vhosttest.SetVringKick, vhosttest.Word(1 | 1<<8), nil},
		"payload of the wrong size":      {vhosttest.SetVringBase, []byte{1}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f, _ := start(t, vhostuser.Device{Handle: upper})
			f.Start(allFeatures)
			if got := f.Acked(tt.request, tt.payload, tt.fds...); got == 0 {
				t.Error("the message was acknowledged")
			}
			q := f.Queue(1, 8, ringAt, true)
			q.Start(0)
			ask(t, f, q, "and works on")
		})
	}
}

func TestRingOutsideTheMemoryIsRefused(t *testing.T) {
	f, _ := start(t, vhostuser.Device{Handle: upper})
	f.Start(allFeatures)
	q := f.Queue(1, 8, memSize-64, true)
	f.Send(vhosttest.SetVringNum, vhosttest.State(1, 8))
	f.Send(vhosttest.SetVringAddr, q.Addr())
	f.Acked(vhosttest.SetVringEnable, vhosttest.State(1, 1))
	if got := f.Acked(vhosttest.SetVringKick, vhosttest.Word(1), q.KickFD()); got == 0 {
		t.Error("a ring outside of the memory was started")
	}
}

func TestConfigurationSpaceIsReadInParts(t *testing.T) {
	piece := func(offset, size uint32, bytes ...byte) []byte {
		return append(append(vhosttest.State(offset, size), 0, 0, 0, 0), bytes...)
	}
	const protoConfig = 1 << 9
	f, _ := start(t, vhostuser.Device{Handle: upper, Config: []byte{1, 2, 3, 4}})
	f.Start(allFeatures)
	if f.AskWord(vhosttest.GetProtocolFeatures)&protoConfig == 0 {
		t.Error("the configuration space is not offered")
	}
	tests := map[string]struct{ ask, want []byte }{
		"all of it":                {piece(0, 4, 0, 0, 0, 0), piece(0, 4, 1, 2, 3, 4)},
		"the end of it":            {piece(3, 1, 0), piece(3, 1, 4)},
		"beyond its end":           {piece(3, 2, 0, 0), nil},
		"an offset beyond the end": {piece(^uint32(0), 2, 0, 0), nil},
		"a size that overflows":    {piece(1, ^uint32(0)), nil},
		"nothing, at the start":    {piece(0, 0), piece(0, 0)},
	}
	for name, tt := range tests {
		if got := f.Ask(vhosttest.GetConfig, tt.ask); !bytes.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}

	none, _ := start(t, vhostuser.Device{Handle: upper})
	none.Start(allFeatures)
	if none.AskWord(vhosttest.GetProtocolFeatures)&protoConfig != 0 {
		t.Error("a configuration space is offered by a device without one")
	}
}

// A request that takes long does not keep others of its ring waiting.
func TestSlowRequestGivesTheRingUp(t *testing.T) {
	slow := make(chan struct{})
	f, _ := start(t, vhostuser.Device{Handle: func(q *vhostuser.Request) {
		if text := string(slices.Concat(q.In...)); text == "slow" && q.Alone {
			<-slow
		}
		q.Done(copy(q.Out[0], bytes.ToUpper(q.In[0])))
	}})
	f.Start(allFeatures)
	q := f.Queue(1, 64, ringAt, true)
	q.Start(0)
	offer := func(slot int, s string) {
		in := text(f, inAt+100*slot, s)
		in.Flags, in.Next = vhosttest.Next, uint16(2*slot+1)
		q.Put(uint16(2*slot), in)
		q.Put(uint16(2*slot+1), room(outAt+100*slot, 100))
		q.Offer(uint16(2 * slot))
	}
	// More than may be handled at once: the last ones are not alone.
	const many = 10
	answered := 0
	for i := range many {
		offer(i, "slow")
		offer(many+i, "quick")
		for u := q.Wait(); ; u = q.Wait() {
			if int(u.Head) == 2*(many+i) {
				break
			}
			answered++
		}
	}
	if answered == 0 || answered == many {
		t.Errorf("%d of %d slow requests were handed over", answered, many)
	}
	close(slow)
	for ; answered < many; answered++ {
		q.Wait()
	}
	ask(t, f, q, "after all")
}
