// Package image turns an image reference into a disk that a machine can start from.
//
// A machine lives long, while a tag moves and a registry may go away. So
// [Store.Resolve] first turns a reference into a digest. Everything else uses digests:
// the blobs in the store, their verification and the cached disks.
//
// The store is an OCI image layout, which other tools can read, with the disks beside
// it. Any number of processes may use it at once; a process waits for work that another
// one is already doing. A process may be killed at any moment: files get their final
// name only when they are complete and on disk.
package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/stead-vm/stead/provider/platform"
	"github.com/stead-vm/stead/provider/transfer"
)

// Image is an image for one platform, identified by its digest.
type Image struct {
	Reference string // in full: "docker.io/library/debian:12", "oci:/srv/layout:debian"
	Digest    string // of the manifest for Platform, "sha256:…"
	Platform  platform.Platform
	Config    Config
	Size      int64 // bytes of all blobs, as stored (usually compressed)
	Created   time.Time
}

// Config is the part of an image's config about running it.
type Config struct {
	Env        []string // KEY=VALUE
	StopSignal string   // as the image spells it, "SIGRTMIN+3"; may be empty
	User       string
	WorkingDir string
	Entrypoint []string
	Cmd        []string
}

// Layer is one layer of an image. Lists of layers begin with the lowest one.
type Layer struct {
	Name string                        // its digest
	Open func() (io.ReadCloser, error) // an uncompressed tar
}

// MakeDisk writes the merged layers as a file system of size bytes to f. The digest is
// the image's. Equal input must give equal disks.
type MakeDisk func(ctx context.Context, f *os.File, layers []Layer, size int64, digest string) error

// Options configures a store.
type Options struct {
	Dir        string            // required: directory of the store
	MakeDisk   MakeDisk          // required for Disk
	DiskFormat int               // version of MakeDisk's output; disks of other versions are not used
	Log        *slog.Logger      // default: discard
	Keychain   authn.Keychain    // default: the credentials of docker and podman
	Transport  http.RoundTripper // default: go-containerregistry's
}

// Store keeps images and the disks created from them. Its methods are safe for concurrent
// use by goroutines and processes.
type Store struct {
	dir        string
	makeDisk   MakeDisk
	diskFormat int
	log        *slog.Logger
	keychain   authn.Keychain
	transport  http.RoundTripper
	retry      transfer.Policy
}

// New validates o and opens the store. It creates missing directories.
func New(o Options) (*Store, error) {
	if o.Dir == "" {
		return nil, errors.New("image: Options.Dir is required")
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	s := &Store{
		dir:        dir,
		makeDisk:   o.MakeDisk,
		diskFormat: o.DiskFormat,
		log:        cmp.Or(o.Log, slog.New(slog.DiscardHandler)),
		keychain:   o.Keychain,
		transport:  o.Transport,
		retry:      transfer.DefaultPolicy,
	}
	if s.keychain == nil {
		s.keychain = newKeychain(s.log)
	}
	if s.transport == nil {
		s.transport = remote.DefaultTransport
	}
	return s, s.init()
}

// newImage returns the image that a manifest and its config describe.
func newImage(reference string, digest v1.Hash, m *v1.Manifest, c *v1.ConfigFile) Image {
	img := Image{
		Reference: reference,
		Digest:    digest.String(),
		Platform:  platform.Platform{OS: c.OS, Architecture: c.Architecture, Variant: c.Variant}.Normal(),
		Created:   c.Created.Time,
		Size:      m.Config.Size,
		Config: Config{
			Env:        c.Config.Env,
			StopSignal: c.Config.StopSignal,
			User:       c.Config.User,
			WorkingDir: c.Config.WorkingDir,
			Entrypoint: c.Config.Entrypoint,
			Cmd:        c.Config.Cmd,
		},
	}
	for _, l := range m.Layers {
		img.Size += l.Size
	}
	return img
}
