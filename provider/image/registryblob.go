package image

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stead-vm/stead/provider/transfer"
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
	client := &http.Client{Transport: rt, CheckRedirect: transfer.CheckRedirect}
	return transfer.OpenRange(offset, func(ranges string) (*http.Response, error) { return transfer.Request(ctx, client, u.String(), ranges) })
}
