package ext4

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
)

func TestInvalidEntriesNameLayerAndPath(t *testing.T) {
	long := strings.Repeat("n", 256)
	tests := map[string]struct {
		entries []entry
		path    string
		message string
	}{
		"path with dots":                     {[]entry{file("a/../../b", "")}, "a/../../b", "out of the image"},
		"long name":                          {[]entry{file("a/"+long, "")}, "a/" + long, "256 bytes, more than 255"},
		"long name in a symlink":             {[]entry{symlink("a", long), file("a/x", "")}, "a/x", "256 bytes, more than 255"},
		"root that is a file":                {[]entry{file(".", "")}, ".", "must be a directory"},
		"hard link to a missing file":        {[]entry{hardlink("a", "b")}, "a", `"b": no such file`},
		"hard link into a missing directory": {[]entry{hardlink("a", "b/c")}, "a", `"b/c": no such directory`},
		"hard link to a directory":           {[]entry{dir("b"), hardlink("a", "b")}, "a", "the target is a directory"},
		"hard link to the root":              {[]entry{hardlink("a", "/")}, "a", "the target is a directory"},
		"hard link with dots":                {[]entry{hardlink("a", "../b")}, "a", "out of the image"},
		"symlink loop in the path":           {[]entry{symlink("a", "b"), symlink("b", "a"), file("a/x", "")}, "a/x", "too many symlinks"},
		"symlink without target":             {[]entry{symlink("a", "")}, "a", "no target"},
		"symlink with a long target":         {[]entry{symlink("a", strings.Repeat("x", 4096))}, "a", "4096 bytes, more than 4095"},
		"file that is also a directory":      {[]entry{file("a", ""), file("a/b", "")}, "a/b", `"a" is not a directory`},
		"whiteout of a parent":               {[]entry{whiteout("a/..")}, "a/.wh...", "invalid whiteout"},
		"negative owner":                     {[]entry{file("a", "").owned(-2, 0)}, "a", "owner -2:0"},
		"owner above the maximum":            {[]entry{file("a", "").owned(0, 1<<32-1)}, "a", "owner 0:4294967295"},
		"device number out of range":         {[]entry{device("a", 4096, 0)}, "a", "device 4096:0"},
		"ACL that cannot be parsed":          {[]entry{file("a", "").with("system.posix_acl_access", "xx")}, "a", "not a POSIX ACL"},
		"ACL with an unknown entry":          {[]entry{file("a", "").with("system.posix_acl_access", acl(0x40))}, "a", "kind 0x40"},
		"attribute larger than block":        {[]entry{file("a", "").with("user.big", strings.Repeat("v", 5000))}, "a", `"user.big"`},
		"attribute without a name":           {[]entry{file("a", "").with("user.", "v")}, "a", "1 to 255 bytes"},
		"unknown kind of entry":              {[]entry{{Header: tar.Header{Typeflag: 'Z', Name: "a"}}}, "a", "unknown type 'Z'"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := writeDisk(filepath.Join(t.TempDir(), "disk"), MinSize, layerOf(file("ok", "")), layerOf(tt.entries...))
			var le *LayerError
			if !errors.As(err, &le) {
				t.Fatalf("got %v, want a LayerError", err)
			}
			if le.Layer != "sha256:test" || le.Path != tt.path || !strings.Contains(err.Error(), tt.message) {
				t.Errorf("got path %q, %v; want path %q and %q", le.Path, err, tt.path, tt.message)
			}
		})
	}
}

func TestDamagedStreams(t *testing.T) {
	whole := tarOf(file("a", strings.Repeat("x", 3000)), file("b", "y"))
	failing := errors.New("digest mismatch")
	tests := map[string]struct {
		open func() (io.ReadCloser, error)
		want error
	}{
		"cut inside a file":   {from(whole[:1024]), io.ErrUnexpectedEOF},
		"cut inside a header": {from(whole[:512+3072+100]), io.ErrUnexpectedEOF},
		"not a tar stream":    {from(bytes.Repeat([]byte("no tar "), 300)), tar.ErrHeader},
		"cannot be opened":    {func() (io.ReadCloser, error) { return nil, failing }, failing},
		"error at its end":    {fromReader(io.MultiReader(bytes.NewReader(whole), errReader{failing}), nil), failing},
		"error when closed":   {fromReader(bytes.NewReader(whole), failing), failing},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := writeDisk(filepath.Join(t.TempDir(), "disk"), MinSize, Layer{"sha256:bad", tt.open})
			var le *LayerError
			if !errors.As(err, &le) || le.Layer != "sha256:bad" || !errors.Is(err, tt.want) {
				t.Errorf("got %v, want a LayerError of sha256:bad for %v", err, tt.want)
			}
		})
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

type closer struct {
	io.Reader
	err error
}

func (c closer) Close() error { return c.err }

func from(b []byte) func() (io.ReadCloser, error) { return fromReader(bytes.NewReader(b), nil) }

func fromReader(r io.Reader, closing error) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return closer{r, closing}, nil }
}

// TestNoSpaceNamesASufficientSize creates the disk again with the size that the error names.
func TestNoSpaceNamesASufficientSize(t *testing.T) {
	t.Parallel()
	var many []entry
	for i := range 20000 {
		many = append(many, file("f"+strings.Repeat("x", i%5)+string(rune('a'+i%26))+"/"+strings.Repeat("y", 1+i/26%200)+string(rune('a'+i/5200)), ""))
	}
	tests := map[string]Layer{
		"content":     layerFrom("big", tarOf(file("a", strings.Repeat("data", 50*mib)), file("b", strings.Repeat("more", mib)))),
		"many inodes": layerFrom("many", tarOf(many...)),
	}
	for name, layer := range tests {
		t.Run(name, func(t *testing.T) {
			disk := filepath.Join(t.TempDir(), "disk")
			err := writeDisk(disk, MinSize, layer)
			var ns *NoSpaceError
			if !errors.As(err, &ns) {
				t.Fatalf("got %v, want a NoSpaceError", err)
			}
			if !strings.Contains(ns.Remedy(), "or more") || !strings.Contains(err.Error(), "a disk of 64M is too small") {
				t.Errorf("got %v (%s)", err, ns.Remedy())
			}
			if err := writeDisk(disk, ns.Need, layer); err != nil {
				t.Fatalf("with the size that the error names: %v", err)
			}
			fsck(t, disk)
			if err := writeDisk(disk, ns.Need*97/100/mib*mib, layer); !errors.As(err, &ns) {
				t.Errorf("with three percent less: got %v, want a NoSpaceError", err)
			}
		})
	}
}

// TestReadingStopsAtFarTooLargeImages is about layers of a few KiB of gzip that unpack to
// terabytes.
func TestReadingStopsAtFarTooLargeImages(t *testing.T) {
	folders := tarOf(file(strings.Repeat("d/", 100_000)+"x", ""))
	tests := map[string]struct {
		beginning []byte
		written   uint64 // blocks written before the beginning
	}{
		"many files": {folders[:len(folders)-1024], 0},
		"one file":   {hugeHeader(t, 1<<40), 200 << 30 / blockSize},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := Options{Size: MinSize, Digest: "d"}
			geo, err := o.geometry()
			if err != nil {
				t.Fatal(err)
			}
			w := newWriter(&fullDisk{1 << 50}, geo, o)
			w.space.frontier += tt.written
			stream := io.MultiReader(bytes.NewReader(tt.beginning), errReader{errors.New("read on")})
			err = w.writeAll(context.Background(), []Layer{{"l", fromReader(stream, nil)}})
			var ns *NoSpaceError
			if !errors.As(err, &ns) {
				t.Errorf("got %v, want a NoSpaceError", err)
			}
			if err := w.out.close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// fullDisk is a file whose host disk is full after a number of bytes.
type fullDisk struct{ after int64 }

func (fullDisk) Truncate(int64) error { return nil }

func (f *fullDisk) WriteAt(p []byte, _ int64) (int, error) {
	if f.after -= int64(len(p)); f.after < 0 {
		return 0, errHostFull
	}
	return len(p), nil
}

var errHostFull = errors.New("no space left on device")

func TestWriteErrorsSurface(t *testing.T) {
	layer := layerOf(file("a", strings.Repeat("data", 4*mib)), dir("b"), file("b/c", "d"))
	for _, after := range []int64{0, 5 * mib, 16*mib + 4096, 16*mib + 12288} {
		_, err := Write(context.Background(), &fullDisk{after}, []Layer{layer}, Options{Size: MinSize, Digest: "d"})
		if !errors.Is(err, errHostFull) {
			t.Errorf("a host disk full after %d bytes: got %v, want %v", after, err, errHostFull)
		}
	}
}

func TestCancellationStopsInsideAFile(t *testing.T) {
	why := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(context.Background())
	head := bytes.NewReader(hugeHeader(t, 1<<40))
	endless := readerFunc(func(p []byte) (int, error) {
		cancel(why)
		return len(p), nil
	})
	layer := Layer{"l", fromReader(io.MultiReader(head, endless), nil)}
	_, err := Write(ctx, &fullDisk{1 << 50}, []Layer{layer}, Options{Size: MinSize, Digest: "d"})
	if err != why {
		t.Errorf("got %v, want the cause of the cancellation as it is", err)
	}
}

// hugeHeader begins a layer with a file of the given size.
func hugeHeader(t *testing.T, size int64) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(&tar.Header{Name: "a", Size: size, Format: tar.FormatGNU}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFilesBeyondExtentsAreRejected(t *testing.T) {
	layer := Layer{"l", from(hugeHeader(t, 1<<44))}
	_, err := Write(context.Background(), &fullDisk{1 << 50}, []Layer{layer}, Options{Size: MinSize, Digest: "d"})
	if err == nil || !strings.Contains(err.Error(), "ext4 allows at most") {
		t.Errorf("a file of 16 TiB: got %v", err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestOptionsAreChecked(t *testing.T) {
	tests := map[string]struct {
		o    Options
		want string
	}{
		"no digest":  {Options{Size: MinSize}, "Digest is required"},
		"odd size":   {Options{Size: MinSize + 512, Digest: "d"}, "multiple of 4096"},
		"small":      {Options{Size: 4096, Digest: "d"}, "below the minimum"},
		"large":      {Options{Size: MaxSize + 4096, Digest: "d"}, "above the maximum"},
		"long label": {Options{Size: MinSize, Digest: "d", Label: "seventeen letters"}, "longer than 16"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Write(context.Background(), &fullDisk{}, nil, tt.o)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
