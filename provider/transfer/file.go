package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// File is a published file, known by its digest.
type File struct {
	Name   string // for [Event.ID]
	URL    string
	Digest string // "sha256:…"
}

// maxFile bounds what a server can fill the host's disk with before its digest is known.
const maxFile = 4 << 30

// FileSource is a file on a server, as a [Resumer].
type FileSource struct {
	url    string
	digest v1.Hash
	client *http.Client
	retry  Policy
}

// NewFileSource returns the source of f, reached by rt.
func NewFileSource(f File, rt http.RoundTripper, retry Policy) (*FileSource, error) {
	h, err := v1.NewHash(f.Digest)
	if err != nil {
		return nil, fmt.Errorf("download of %s: %w", f.URL, err)
	}
	client := &http.Client{Transport: transport.NewUserAgent(NewGuard(rt), "stead"), CheckRedirect: CheckRedirect}
	return &FileSource{url: f.URL, digest: h, client: client, retry: retry}, nil
}

func (f *FileSource) String() string { return f.url }

// Descriptor asks the server how large the file is, again if that fails for the moment.
func (f *FileSource) Descriptor(ctx context.Context) (d v1.Descriptor, err error) {
	err = f.retry.Do(ctx, func() error {
		d, err = f.describe(ctx)
		return err
	})
	return d, err
}

// describe asks for the first byte: servers that sign addresses for one method refuse
// HEAD there.
func (f *FileSource) describe(ctx context.Context) (v1.Descriptor, error) {
	dog := f.retry.Watch(ctx)
	defer dog.Stop()
	res, err := f.get(dog.Context(), "bytes=0-0")
	if err == nil {
		defer res.Body.Close() // the rest of it is not wanted
		err = transport.CheckError(res, http.StatusOK, http.StatusPartialContent)
	}
	if err != nil {
		return v1.Descriptor{}, f.failed(dog.Explain(err))
	}
	size := res.ContentLength
	if res.StatusCode == http.StatusPartialContent {
		size = sizeOf(res)
	}
	if size <= 0 || size > maxFile {
		return v1.Descriptor{}, f.failed(fmt.Errorf("the server reports a size of %d bytes, which must be between 1 and %d", size, int64(maxFile)))
	}
	return v1.Descriptor{Digest: f.digest, Size: size}, nil
}

// sizeOf returns the size of the whole file, of which res has a part: the number after the
// slash in Content-Range (RFC 9110 §14.4), or -1.
func sizeOf(res *http.Response) int64 {
	_, text, _ := strings.Cut(res.Header.Get("Content-Range"), "/")
	size, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return -1
	}
	return size
}

// Open implements [Source].
func (f *FileSource) Open(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	rc, _, err := f.OpenFrom(ctx, d, 0)
	return rc, err
}

// OpenFrom implements [Resumer].
func (f *FileSource) OpenFrom(ctx context.Context, _ v1.Descriptor, offset int64) (io.ReadCloser, int64, error) {
	dog := f.retry.Watch(ctx)
	rc, at, err := OpenRange(offset, func(ranges string) (*http.Response, error) { return f.get(dog.Context(), ranges) })
	if err != nil {
		dog.Stop()
		return nil, 0, f.failed(dog.Explain(err))
	}
	return dog.Reader(rc), at, nil
}

func (f *FileSource) get(ctx context.Context, ranges string) (*http.Response, error) {
	return Request(ctx, f.client, f.url, ranges)
}

func (f *FileSource) failed(err error) error {
	e := &DownloadError{URL: f.url, Err: err}
	var status *transport.Error
	if errors.As(err, &status) {
		e.Status = status.StatusCode
	}
	return e
}
