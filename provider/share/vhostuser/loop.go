//go:build linux

package vhostuser

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// reliefAfter is how long a request may keep its ring's loop before another goroutine takes the
// loop over.
const reliefAfter = 50 * time.Millisecond

// maxSlow is how many requests that took the loop with them may be in progress. With more, no
// request is [Request.Alone].
const maxSlow = 4

// loop takes the requests of a ring and has them handled. To hand each request to another
// goroutine would cost more than most requests: the processors have virtual ones to run. So the
// loop handles them itself and, if one takes long, another goroutine takes the loop over.
type loop struct {
	ring *ring
	kick int           // the kick event
	stop int           // an event that ends the loop
	done chan struct{} // closed when the loop has ended
	work chan struct{} // a request after a rest

	mu      sync.Mutex // guards what follows
	turn    int        // who has the loop: it grows with each goroutine
	serial  uint64     // number of the last request
	busy    bool       // it is being handled
	slow    int        // requests whose handlers have lost the loop
	resting bool       // relieve waits for work
}

func startLoop(r *ring) (*loop, error) {
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("ring %d: stop event: %w", r.index, err)
	}
	l := &loop{ring: r, kick: r.kick, stop: stop, done: make(chan struct{}), work: make(chan struct{}, 1), resting: true}
	go l.run(0)
	go l.relieve()
	return l, nil
}

// run is the loop.
func (l *loop) run(turn int) {
	for {
		q := l.ring.take()
		for q != nil {
			next := l.ring.take()
			if !l.handle(q, next == nil, turn) {
				if next != nil {
					l.ring.dev.Handle(next)
				}
				return
			}
			if q = next; q == nil {
				q = l.ring.take()
			}
		}
		if !l.wait() {
			close(l.done)
			return
		}
	}
}

// wait waits for the driver. It reports whether the loop goes on.
//
// It blocks a thread. Go's poller would do with none, but then each request would wake several
// threads of Go's runtime, which takes longer than most requests. The kick event itself must be
// non-blocking: QEMU shares that eventfd, and reads it while it holds its global lock.
func (l *loop) wait() bool {
	events := []unix.PollFd{{Fd: int32(l.kick), Events: unix.POLLIN}, {Fd: int32(l.stop), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(events, -1)
		if err == unix.EINTR {
			continue
		}
		if err == nil && events[1].Revents != 0 {
			return false
		}
		if err == nil {
			var count [8]byte
			_, err = unix.Read(l.kick, count[:])
		}
		// EAGAIN: QEMU has read it, as it does when it takes the ring over.
		if err != nil && err != unix.EAGAIN && err != unix.EINTR {
			l.ring.log.Warn("the kick event failed", "err", err)
			return false
		}
		return true
	}
}

// handle has a request handled; alone says that no other one waits. It reports whether the caller
// still has the loop.
func (l *loop) handle(q *Request, alone bool, turn int) bool {
	l.mu.Lock()
	q.Alone = alone && l.slow < maxSlow
	l.serial++
	l.busy = true
	if l.resting {
		l.resting = false
		l.work <- struct{}{}
	}
	l.mu.Unlock()
	l.ring.dev.Handle(q)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.turn != turn {
		l.slow--
		return false
	}
	l.busy = false
	return true
}

// relieve gives the loop to another goroutine when a request takes long. It looks regularly as
// long as there are requests.
func (l *loop) relieve() {
	var seen uint64
	for {
		select {
		case <-l.done:
			return
		case <-l.work:
		}
		for rest := false; !rest; {
			select {
			case <-l.done:
				return
			case <-time.After(reliefAfter):
			}
			l.mu.Lock()
			same := l.serial == seen
			seen = l.serial
			switch {
			case same && l.busy:
				l.turn++
				l.slow++
				l.busy = false
				go l.run(l.turn)
			case same:
				l.resting, rest = true, true
			}
			l.mu.Unlock()
		}
	}
}

// halt ends the loop and waits for that. Requests in progress continue.
func (l *loop) halt() {
	_, _ = unix.Write(l.stop, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // cannot fail: it is written once
	<-l.done
	_ = unix.Close(l.stop)
}
