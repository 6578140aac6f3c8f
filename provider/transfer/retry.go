package transfer

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// transientError marks a failure that may be gone a moment later.
type transientError struct{ error }

func (e transientError) Unwrap() error { return e.error }

// Policy says how often and how patiently something is tried.
type Policy struct {
	Tries int
	Wait  time.Duration // before the second try; three times as long before each next
	Stall time.Duration // a transfer that brings nothing for so long has failed
}

// DefaultPolicy is for servers on the internet.
var DefaultPolicy = Policy{Tries: 4, Wait: 300 * time.Millisecond, Stall: time.Minute}

var errStalled = errors.New("the server stopped sending")

// Do calls f until it succeeds, fails for good, or has failed too often.
func (p Policy) Do(ctx context.Context, f func() error) error {
	wait := p.Wait
	for try := 1; ; try++ {
		err := f()
		var t transientError
		if err == nil || !errors.As(err, &t) || try == p.Tries || ctx.Err() != nil {
			return err
		}
		// Jitter keeps parallel pulls from coming back all at once.
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait/2 + rand.N(wait)):
		}
		wait *= 3
	}
}

// classify marks err when it may pass. Whatever ends a connection early may; an answer
// like 401 or 404 will be the same the next time.
func classify(err error) error {
	var status *transport.Error
	if errors.As(err, &status) {
		switch status.StatusCode {
		case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
			http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return transientError{err}
		}
		return err
	}
	var unknown *net.DNSError
	if errors.As(err, &unknown) && unknown.IsNotFound {
		return err
	}
	var network net.Error
	if errors.As(err, &network) {
		return transientError{err}
	}
	for _, e := range []error{
		errStalled, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed,
		syscall.ECONNRESET, syscall.ECONNREFUSED, syscall.EPIPE,
	} {
		if errors.Is(err, e) {
			return transientError{err}
		}
	}
	return err
}

// Watchdog cancels a context when it is not fed.
type Watchdog struct {
	ctx    context.Context // see Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	limit  time.Duration
}

// Watch begins a transfer that is cancelled when it brings nothing for p.Stall. Stop the
// watchdog, or close what its Reader returned.
func (p Policy) Watch(ctx context.Context) *Watchdog {
	w := &Watchdog{limit: p.Stall}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.timer = time.AfterFunc(p.Stall, func() { w.cancel(errStalled) })
	return w
}

// Context is what the transfer runs in.
func (w *Watchdog) Context() context.Context { return w.ctx }

// Explain prefers the watchdog's reason to the "context canceled" that it led to, and
// marks errors after which [Policy.Do] tries again.
func (w *Watchdog) Explain(err error) error {
	if cause := context.Cause(w.ctx); errors.Is(cause, errStalled) {
		return classify(cause)
	}
	return classify(err)
}

// Stop ends the watch and cancels the context.
func (w *Watchdog) Stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// Reader returns rc, whose reads feed the watchdog. Closing it stops the watchdog.
func (w *Watchdog) Reader(rc io.ReadCloser) io.ReadCloser { return watchedReader{rc, w} }

type watchedReader struct {
	io.ReadCloser
	watchdog *Watchdog
}

func (r watchedReader) Read(p []byte) (int, error) {
	r.watchdog.timer.Reset(r.watchdog.limit)
	n, err := r.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = r.watchdog.Explain(err)
	}
	return n, err
}

// Close ends the transfer, whole or not.
func (r watchedReader) Close() error {
	r.watchdog.Stop()
	return r.ReadCloser.Close()
}
