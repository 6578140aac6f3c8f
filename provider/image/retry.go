package image

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

// policy says how often to retry and how long to wait.
type policy struct {
	tries int
	wait  time.Duration // before the second try; tripled before each further one
	stall time.Duration // a transfer without data for this long has failed
}

var defaultPolicy = policy{tries: 4, wait: 300 * time.Millisecond, stall: time.Minute}

var errStalled = errors.New("the server stopped sending data")

// do calls f until it succeeds, fails permanently, or has failed too often.
func (p policy) do(ctx context.Context, f func() error) error {
	wait := p.wait
	for try := 1; ; try++ {
		err := f()
		var t transientError
		if err == nil || !errors.As(err, &t) || try == p.tries || ctx.Err() != nil {
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

// watched is a transfer that fails when it stalls.
type watched struct {
	io.ReadCloser
	watchdog *watchdog
}

// watchdog cancels a context unless its timer is reset in time.
type watchdog struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	limit  time.Duration
}

func (p policy) watch(ctx context.Context) *watchdog {
	w := &watchdog{limit: p.stall}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.timer = time.AfterFunc(p.stall, func() { w.cancel(errStalled) })
	return w
}

// error returns the watchdog's reason instead of the "context canceled" that it caused.
func (w *watchdog) error(err error) error {
	if cause := context.Cause(w.ctx); errors.Is(cause, errStalled) {
		return classify(cause)
	}
	return classify(err)
}

func (w *watchdog) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

func (w watched) Read(p []byte) (int, error) {
	w.watchdog.timer.Reset(w.watchdog.limit)
	n, err := w.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = w.watchdog.error(err)
	}
	return n, err
}

// Close ends the transfer, complete or not.
func (w watched) Close() error {
	w.watchdog.stop()
	return w.ReadCloser.Close()
}
