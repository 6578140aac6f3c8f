package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Request asks for a file, or for ranges of it unless they are empty.
func Request(ctx context.Context, c *http.Client, address, ranges string) (*http.Response, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	if ranges != "" {
		q.Header.Set("Range", ranges)
	}
	res, err := c.Do(q)
	var at *url.Error
	if errors.As(err, &at) {
		// The place that a server sent us to is long and may hold a signature that gives
		// access: not for messages.
		return nil, at.Err
	}
	return res, err
}

// OpenRange reads the file that get requests, from offset if the server supports ranges (RFC
// 9110 §14), else from its beginning. It returns the offset at which the reader starts.
func OpenRange(offset int64, get func(ranges string) (*http.Response, error)) (_ io.ReadCloser, at int64, err error) {
	ranges := ""
	if offset > 0 {
		ranges = fmt.Sprintf("bytes=%d-", offset)
	}
	res, err := get(ranges)
	if err == nil && offset > 0 && (res.StatusCode == http.StatusRequestedRangeNotSatisfiable ||
		res.StatusCode == http.StatusPartialContent && !beginsAt(res, offset)) {
		_ = res.Body.Close() // another request follows
		offset = 0
		res, err = get("")
	}
	if err != nil {
		return nil, 0, err
	}
	if offset > 0 && res.StatusCode == http.StatusPartialContent {
		return res.Body, offset, nil
	}
	if err := transport.CheckError(res, http.StatusOK); err != nil {
		return nil, 0, errors.Join(err, res.Body.Close())
	}
	return res.Body, 0, nil
}

// beginsAt reports whether a partial answer is the part that was asked for.
func beginsAt(res *http.Response, offset int64) bool {
	return strings.HasPrefix(res.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", offset))
}

// CheckRedirect lets a server send us to where its files are, but not into the network
// that we are in, where a cloud's metadata service might answer. It only sees addresses; a
// [Guard] sees what names mean.
func CheckRedirect(q *http.Request, via []*http.Request) error {
	const most = 10 // as net/http has it
	if len(via) >= most {
		return fmt.Errorf("more than %d redirects", most)
	}
	to, err := netip.ParseAddr(q.URL.Hostname())
	if err != nil || q.URL.Hostname() == via[0].URL.Hostname() {
		return nil
	}
	if isLocal(to) {
		return refusedLocal(to)
	}
	return nil
}
