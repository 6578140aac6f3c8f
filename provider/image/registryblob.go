package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// blob reads a blob from an offset on where the registry does ranges (RFC 9110 §14),
// else from its beginning; at tells which. The library that speaks to registries for us
// elsewhere fetches blobs whole only.
func (s *registrySource) blob(ctx context.Context, h v1.Hash, offset int64) (_ io.ReadCloser, at int64, err error) {
	rt, err := s.connect(ctx)
	if err != nil {
		return nil, 0, err
	}
	client := &http.Client{Transport: rt, CheckRedirect: checkRedirect}
	res, err := s.requestBlob(ctx, client, h, offset)
	if err == nil && offset > 0 && (res.StatusCode == http.StatusRequestedRangeNotSatisfiable ||
		res.StatusCode == http.StatusPartialContent && !beginsAt(res, offset)) {
		_ = res.Body.Close() // it is asked for anew
		offset = 0
		res, err = s.requestBlob(ctx, client, h, offset)
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

func (s *registrySource) requestBlob(ctx context.Context, c *http.Client, h v1.Hash, offset int64) (*http.Response, error) {
	repo := s.ref.Context()
	u := url.URL{
		Scheme: repo.Scheme(), Host: repo.RegistryStr(),
		Path: fmt.Sprintf("/v2/%s/blobs/%s", repo.RepositoryStr(), h),
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	if offset > 0 {
		q.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	res, err := c.Do(q)
	var at *url.Error
	if errors.As(err, &at) {
		// The place that the registry sent us to is long and may hold a signature that
		// gives access: not for messages.
		return nil, at.Err
	}
	return res, err
}

// beginsAt tells whether a partial answer is the part that was asked for.
func beginsAt(res *http.Response, offset int64) bool {
	return strings.HasPrefix(res.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", offset))
}

// checkRedirect lets a registry send us to where its blobs are, but not into the network
// that we are in, where a cloud's metadata service might answer.
func checkRedirect(q *http.Request, via []*http.Request) error {
	const most = 10 // as net/http has it
	if len(via) >= most {
		return fmt.Errorf("the registry redirects more than %d times", most)
	}
	to, err := netip.ParseAddr(q.URL.Hostname())
	if err != nil || q.URL.Hostname() == via[0].URL.Hostname() {
		return nil
	}
	if to = to.Unmap(); to.IsPrivate() || to.IsLoopback() || to.IsLinkLocalUnicast() || to.IsUnspecified() {
		return fmt.Errorf("the registry redirects to %s, an address of the local network", to)
	}
	return nil
}
