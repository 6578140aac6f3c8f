package image

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// blob opens a blob from offset on if the registry supports ranges, else from the
// beginning; at is the offset of the first byte. go-containerregistry can only fetch whole
// blobs.
func (s *registrySource) blob(ctx context.Context, h v1.Hash, offset int64) (_ io.ReadCloser, at int64, err error) {
	rt, err := s.connect(ctx)
	if err != nil {
		return nil, 0, err
	}
	repo := s.ref.Context()
	u := url.URL{
		Scheme: repo.Scheme(), Host: repo.RegistryStr(),
		Path: fmt.Sprintf("/v2/%s/blobs/%s", repo.RepositoryStr(), h),
	}
	client := &http.Client{Transport: rt, CheckRedirect: checkRedirect}
	return openRange(offset, func(ranges string) (*http.Response, error) { return request(ctx, client, u.String(), ranges) })
}

// checkRedirect allows redirects to other hosts, but not into the local network, where a
// cloud's metadata service may answer.
func checkRedirect(q *http.Request, via []*http.Request) error {
	const most = 10 // as in net/http
	if len(via) >= most {
		return fmt.Errorf("more than %d redirects", most)
	}
	to, err := netip.ParseAddr(q.URL.Hostname())
	if err != nil || q.URL.Hostname() == via[0].URL.Hostname() {
		return nil
	}
	if to = to.Unmap(); to.IsPrivate() || to.IsLoopback() || to.IsLinkLocalUnicast() || to.IsUnspecified() {
		return fmt.Errorf("server redirects to %s, an address in a local network", to)
	}
	return nil
}
