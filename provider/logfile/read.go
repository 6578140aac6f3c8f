package logfile

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"
)

// lookEvery is how often Copy looks whether a log has grown.
const lookEvery = 200 * time.Millisecond

// Copy writes the log at path to w, the older file first. With follow, it goes on with what is
// added until ctx ends. It writes nothing if there is no log.
func Copy(ctx context.Context, w io.Writer, path string, follow bool) error {
	files, err := openBoth(path)
	if err != nil {
		return err
	}
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	for {
		for len(files) > 0 {
			if _, err := io.Copy(w, files[0]); err != nil {
				return err
			}
			if len(files) == 1 {
				break
			}
			files[0].Close()
			files = files[1:]
		}
		if !follow {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(lookEvery):
		}
		// Whether a next file exists must be asked before the end of this one is read: once
		// there is a next one, nothing is added to this one.
		if files, err = appendNext(files, path); err != nil {
			return err
		}
	}
}

// openBoth opens the older and the newer file, as far as they exist. Between the two, the
// newer one may become the older one; then it tries again.
func openBoth(path string) ([]*os.File, error) {
	for {
		older, err := openIfExists(Older(path))
		if err != nil {
			return nil, err
		}
		newer, err := openIfExists(path)
		if err != nil {
			return closing(older, err)
		}
		again, err := openIfExists(Older(path))
		if err != nil {
			return closing(older, err)
		}
		same := sameFile(older, again)
		if again != nil {
			again.Close()
		}
		if same {
			return existing(older, newer), nil
		}
		for _, f := range existing(older, newer) {
			f.Close()
		}
	}
}

func closing(f *os.File, err error) ([]*os.File, error) {
	if f != nil {
		err = errors.Join(err, f.Close())
	}
	return nil, err
}

func existing(files ...*os.File) (found []*os.File) {
	for _, f := range files {
		if f != nil {
			found = append(found, f)
		}
	}
	return found
}

// appendNext adds the file at path unless it is the last of files.
func appendNext(files []*os.File, path string) ([]*os.File, error) {
	next, err := openIfExists(path)
	if err != nil || next == nil {
		return files, err
	}
	if len(files) > 0 && sameFile(files[len(files)-1], next) {
		return files, next.Close()
	}
	return append(files, next), nil
}

func openIfExists(path string) (*os.File, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return f, err
}

// sameFile reports whether both are nil or the same file.
func sameFile(a, b *os.File) bool {
	if a == nil || b == nil {
		return a == b
	}
	first, err := a.Stat()
	if err != nil {
		return false
	}
	second, err := b.Stat()
	return err == nil && os.SameFile(first, second)
}
