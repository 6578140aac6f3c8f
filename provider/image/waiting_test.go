package image

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gofrs/flock"
)

// logLines receives what is logged.
type logLines chan string

func (l logLines) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

func TestWaitForAnotherProcessIsTold(t *testing.T) {
	s, dir, img := imported(t)
	file := writeFile(t, filepath.Join(t.TempDir(), "image.tar"), ggcrArchiveOf(t, sample(t, "x")))
	name := "local/made:1"
	build := func(ctx context.Context) error {
		_, err := s.Make(ctx, name, func(context.Context, string) error { return errors.New("was called") }, nil)
		return err
	}
	disk := func(ctx context.Context) error {
		_, err := s.Disk(ctx, img, 1<<20, nil)
		return err
	}
	// The first use makes the lock files.
	if err := build(t.Context()); err == nil {
		t.Fatal("made an image from nothing")
	}
	if err := disk(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "blobs", "sha256")); err != nil { // so that they are downloaded again
		t.Fatal(err)
	}
	tests := map[string]struct {
		lock string // a pattern in the store's directory
		use  func(context.Context) error
		says string
	}{
		"that removes images": {"store.lock", disk, "removes images"},
		"that uses the store": {"store.lock", func(ctx context.Context) error {
			_, err := s.Prune(ctx, PruneOptions{})
			return err
		}, "is using the image store"},
		"that makes a disk":   {"locks/*.ext4", disk, "makes the disk of " + img.Reference},
		"that makes an image": {"locks/make-*", build, "makes " + name},
		"that downloads a blob": {"locks/blob-*", func(ctx context.Context) error {
			_, err := s.Pull(ctx, "docker-archive:"+file, amd64, nil)
			return err
		}, "downloads "},
	}
	for test, tt := range tests {
		t.Run(test, func(t *testing.T) {
			said := make(logLines, 16)
			s.log = slog.New(slog.NewTextHandler(said, nil))
			files, err := filepath.Glob(filepath.Join(dir, tt.lock))
			if err != nil || len(files) == 0 {
				t.Fatalf("%s: %v", tt.lock, err)
			}
			for _, file := range files {
				held := flock.New(file)
				if ok, err := held.TryLock(); err != nil || !ok {
					t.Fatal(ok, err)
				}
				defer held.Close()
			}
			enough := errors.New("enough")
			ctx, cancel := context.WithCancelCause(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- tt.use(ctx) }()
			select {
			case line := <-said:
				if !strings.Contains(line, "waiting for another stead process that "+tt.says) {
					t.Errorf("logged %q, want %q", line, tt.says)
				}
				cancel(enough)
				if err := <-ended; !errors.Is(err, enough) {
					t.Errorf("ended with %v", err)
				}
			case err := <-ended:
				t.Errorf("ended with %v", err)
				cancel(nil)
			}
		})
	}
}
