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

// blob reads a blob from an offset on where the registry does ranges, else from its
// beginning; at tells which. The library that speaks to registries for us elsewhere
// fetches blobs whole only.
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

// checkRedirect lets a server send us to where its files are, but not into the network
// that we are in, where a cloud's metadata service might answer.
func checkRedirect(q *http.Request, via []*http.Request) error {
	const most = 10 // as net/http has it
	if len(via) >= most {
		return fmt.Errorf("the server redirects more than %d times", most)
	}
	to, err := netip.ParseAddr(q.URL.Hostname())
	if err != nil || q.URL.Hostname() == via[0].URL.Hostname() {
		return nil
	}
	if to = to.Unmap(); to.IsPrivate() || to.IsLoopback() || to.IsLinkLocalUnicast() || to.IsUnspecified() {
		return fmt.Errorf("the server redirects to %s, an address of the local network", to)
	}
	return nil
}
