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

// transientError marks a failure that a retry may resolve.
type transientError struct{ error }

func (e transientError) Unwrap() error { return e.error }

// Policy says how often to retry and how long to wait.
type Policy struct {
	Tries int
	Wait  time.Duration // before the second try; tripled before each further one
	Stall time.Duration // a transfer without data for this long has failed
}

// DefaultPolicy is for servers on the internet.
var DefaultPolicy = Policy{Tries: 4, Wait: 300 * time.Millisecond, Stall: time.Minute}

var errStalled = errors.New("the server stopped sending data")

// Do calls f until it succeeds, fails permanently, or has failed too often.
func (p Policy) Do(ctx context.Context, f func() error) error {
	wait := p.Wait
	for try := 1; ; try++ {
		err := f()
		var t transientError
		if err == nil || !errors.As(err, &t) || try == p.Tries || ctx.Err() != nil {
			return err
		}
		// Jitter keeps parallel pulls from retrying all at once.
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait/2 + rand.N(wait)):
		}
		wait *= 3
	}
}

// classify marks err as transient if a retry may help. It may for anything that ends a
// connection early, but not for an answer such as 401 or 404.
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
	var refused *RefusedError
	if errors.As(err, &refused) {
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

// Watchdog cancels a context unless data keeps coming.
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

// Context returns the context in which the transfer must run.
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
