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
	client := &http.Client{Transport: rt, CheckRedirect: transfer.CheckRedirect}
	return transfer.OpenRange(offset, func(ranges string) (*http.Response, error) { return transfer.Request(ctx, client, u.String(), ranges) })
}
