package transfer

import "fmt"

// BlobError reports a blob that cannot be used: tampered with, cut off, or not what
// its description says.
type BlobError struct {
	Digest string
	Source string // where it came from
	Hint   string // the remedy; default: to try again
	Err    error
}

func (e *BlobError) Error() string {
	return fmt.Sprintf("blob %s from %s: %v", e.Digest, e.Source, e.Err)
}

// Unwrap gives the cause.
func (e *BlobError) Unwrap() error { return e.Err }

// Remedy says what may help.
func (e *BlobError) Remedy() string {
	if e.Hint != "" {
		return e.Hint
	}
	return fmt.Sprintf("nothing of it was kept; retry, and if it stays so make the image in %s anew", e.Source)
}

// DownloadError reports a server that did not give a file.
type DownloadError struct {
	URL    string
	Status int // of HTTP; 0 when there was no answer
	Err    error
}

func (e *DownloadError) Error() string {
	if e.Status == 0 {
		return fmt.Sprintf("%s cannot be fetched: %v", e.URL, e.Err)
	}
	return fmt.Sprintf("%s was not given (%d): %v", e.URL, e.Status, e.Err)
}

// Unwrap gives the cause.
func (e *DownloadError) Unwrap() error { return e.Err }

// Remedy is to try again.
func (e *DownloadError) Remedy() string {
	return "check that the server can be reached from here, then retry: what came so far is kept"
}
