package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// File is a file on a web server, with a known digest.
type File struct {
	Name   string // for [Event.ID]
	URL    string
	Digest string // "sha256:…"
}

// maxFile bounds how much of the host's disk a server can fill before the digest is checked.
const maxFile = 4 << 30

// DownloadError reports a failed download.
type DownloadError struct {
	URL    string
	Status int // of HTTP; 0 if there was no answer
	Err    error
}

func (e *DownloadError) Error() string {
	if e.Status == 0 {
		return fmt.Sprintf("cannot download %s: %v", e.URL, e.Err)
	}
	return fmt.Sprintf("cannot download %s (%d): %v", e.URL, e.Status, e.Err)
}

// Unwrap returns the cause.
func (e *DownloadError) Unwrap() error { return e.Err }

// Remedy says to try again.
func (e *DownloadError) Remedy() string {
	return "check that this host can reach the server, then retry; the download resumes where it stopped"
}

// WithFile downloads f, resumed and verified like a blob, calls use with its content, and
// removes it if use succeeds. Callers must not download the same f concurrently: the one
// that waits would download it again after the other has removed it.
func (s *Store) WithFile(ctx context.Context, f File, use func(io.Reader) error, progress Progress) error {
	h, err := v1.NewHash(f.Digest)
	if err != nil {
		return fmt.Errorf("download of %s: %w", f.URL, err)
	}
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := s.download(ctx, f, h, progress.oneAtATime()); err != nil {
		return s.explain(err)
	}
	in, err := os.Open(s.blobPath(h))
	if err != nil {
		return err
	}
	err = use(readerWithContext{ctx, in})
	_ = in.Close() // only read from
	if err != nil {
		return err
	}
	return os.Remove(in.Name())
}

// download stores f under its digest. The server tells the size, unless an earlier call has
// downloaded f and its use failed.
func (s *Store) download(ctx context.Context, f File, h v1.Hash, progress Progress) error {
	src := fileSource{
		url: f.URL, digest: h, retry: s.retry,
		client: &http.Client{Transport: transport.NewUserAgent(s.transport, "stead"), CheckRedirect: checkRedirect},
	}
	d := v1.Descriptor{Digest: h}
	if info, err := os.Stat(s.blobPath(h)); err == nil {
		d.Size = info.Size()
	} else {
		err := s.retry.do(ctx, func() error {
			roots, err := src.roots(ctx)
			if err == nil {
				d = roots[0]
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return s.copyBlob(ctx, src, d, func(e Event) {
		e.ID = f.Name
		progress(e)
	})
}

// fileSource is a file on a server.
type fileSource struct {
	url    string
	digest v1.Hash
	client *http.Client
	retry  policy
}

func (f fileSource) String() string { return f.url }

// Close does nothing: the transport owns the connections.
func (f fileSource) Close() error { return nil }

// roots asks for the size of the file. It requests the first byte instead of using HEAD,
// which servers refuse for an address that they signed for GET.
func (f fileSource) roots(ctx context.Context) ([]v1.Descriptor, error) {
	dog := f.retry.watch(ctx)
	defer dog.stop()
	res, err := f.get(dog.ctx, "bytes=0-0")
	if err == nil {
		defer res.Body.Close() // the body is not needed
		err = transport.CheckError(res, http.StatusOK, http.StatusPartialContent)
	}
	if err != nil {
		return nil, f.failed(dog.error(err))
	}
	size := res.ContentLength
	if res.StatusCode == http.StatusPartialContent {
		size = sizeOf(res)
	}
	if size <= 0 || size > maxFile {
		return nil, f.failed(fmt.Errorf("the server reports a size of %d bytes, which must be between 1 and %d", size, int64(maxFile)))
	}
	return []v1.Descriptor{{Digest: f.digest, Size: size}}, nil
}

// sizeOf returns the size of the whole file of which an answer is a part: the number after
// the slash in Content-Range (RFC 9110 §14.4), or -1.
func sizeOf(res *http.Response) int64 {
	_, text, _ := strings.Cut(res.Header.Get("Content-Range"), "/")
	size, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return -1
	}
	return size
}

func (f fileSource) open(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	rc, _, err := f.openFrom(ctx, d, 0)
	return rc, err
}

func (f fileSource) openFrom(ctx context.Context, _ v1.Descriptor, offset int64) (io.ReadCloser, int64, error) {
	dog := f.retry.watch(ctx)
	rc, at, err := openRange(offset, func(ranges string) (*http.Response, error) { return f.get(dog.ctx, ranges) })
	if err != nil {
		dog.stop()
		return nil, 0, f.failed(dog.error(err))
	}
	return watched{ReadCloser: rc, watchdog: dog}, at, nil
}

func (f fileSource) get(ctx context.Context, ranges string) (*http.Response, error) {
	return request(ctx, f.client, f.url, ranges)
}

func (f fileSource) failed(err error) error {
	e := &DownloadError{URL: f.url, Err: err}
	var status *transport.Error
	if errors.As(err, &status) {
		e.Status = status.StatusCode
	}
	return e
}

// request gets a file, or ranges of it unless ranges is empty.
func request(ctx context.Context, c *http.Client, address, ranges string) (*http.Response, error) {
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
		// Drop the URL: the target of a redirect is long and may contain a signature that
		// grants access.
		return nil, at.Err
	}
	return res, err
}

// openRange opens what get requests: from offset on if the server supports ranges (RFC 9110
// §14), else from the beginning. at is the offset of the first byte.
func openRange(offset int64, get func(ranges string) (*http.Response, error)) (_ io.ReadCloser, at int64, err error) {
	ranges := ""
	if offset > 0 {
		ranges = fmt.Sprintf("bytes=%d-", offset)
	}
	res, err := get(ranges)
	if err == nil && offset > 0 && (res.StatusCode == http.StatusRequestedRangeNotSatisfiable ||
		res.StatusCode == http.StatusPartialContent && !beginsAt(res, offset)) {
		_ = res.Body.Close() // request the whole file instead
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

// beginsAt reports whether a partial answer begins at the requested offset.
func beginsAt(res *http.Response, offset int64) bool {
	return strings.HasPrefix(res.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", offset))
}
