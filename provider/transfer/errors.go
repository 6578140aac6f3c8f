package transfer

import "fmt"

// BlobError reports a blob that cannot be used: unreadable, truncated, or different from
// its descriptor.
type BlobError struct {
	Digest string
	Source string // where it came from
	Hint   string // the remedy; default: retry
	Err    error
}

func (e *BlobError) Error() string {
	return fmt.Sprintf("blob %s from %s: %v", e.Digest, e.Source, e.Err)
}

// Unwrap returns the cause.
func (e *BlobError) Unwrap() error { return e.Err }

// Remedy returns the hint, or says to retry.
func (e *BlobError) Remedy() string {
	if e.Hint != "" {
		return e.Hint
	}
	return fmt.Sprintf("retry (no part of the blob was kept); if that fails too, build the image in %s again", e.Source)
}

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
