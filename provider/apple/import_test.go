package apple

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stead-vm/stead/provider/bundle/bundletest"
	"github.com/stead-vm/stead/provider/ext4"
	"github.com/stead-vm/stead/provider/lock"

	"github.com/stead-vm/stead/provider/bundle"
	"github.com/stead-vm/stead/provider/host"
	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/platform"
	"github.com/stead-vm/stead/provider/size"

	"github.com/gofrs/flock"
	"github.com/google/go-cmp/cmp"
)

// appleInner is the configuration of an Apple bundle, with keys that stead does not know.
var appleInner = `{"id":"ubuntu","image":{"reference":"local/ubuntu:1","mediaType":"application/vnd.oci.image.index.v1+json","size":7,` +
	`"digest":"sha256:1111111111111111111111111111111111111111111111111111111111111111"},` +
	`"platform":{"os":"linux","architecture":"` + runtime.GOARCH + `","osFeatures":[]},` +
	`"userSetup":{"username":"ann","uid":501,"gid":20,"shell":"/bin/zsh"},"future":{"x":1}}`

// appleFiles are the files of a bundle in the newer form.
func appleFiles() map[string]string {
	return map[string]string{
		bundle.BootConfigFile: `{"cpus":3,"memory":"2gb","homeMount":"ro","virtualization":true,"kernelPath":"/k/vmlinux","rosetta":true}`,
		bundle.ConfigFile:     `{"configuration":` + appleInner + `,"createdDate":"2026-05-01T10:00:00Z","labels":{"a":"b"}}`,
		"rootfs.json":         `{"type":"block"}`, "machine.initialized": "1",
	}
}

// store is an importer with an empty state directory and the disk of a small image.
type store struct {
	*Importer
	disk string
}

func newImporter(t *testing.T) store {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	log := slog.New(slog.DiscardHandler)
	bundles, err := bundle.NewStore(t.TempDir(), &lock.Locker{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	disk := filepath.Join(t.TempDir(), "disk")
	f, err := os.Create(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := ext4.Write(t.Context(), f, nil, ext4.Options{Size: 96 * size.MiB, Digest: "sha256:1"}); err != nil {
		t.Fatal(err)
	}
	check := func(_ context.Context, p platform.Platform) error {
		if p.Architecture != runtime.GOARCH {
			return fmt.Errorf("cannot run %s", p)
		}
		return nil
	}
	return store{&Importer{Bundles: bundles, Version: "test", Platform: check}, disk}
}

// checkImported checks that a machine is complete and has the marked disk, and returns it.
func checkImported(t *testing.T, p store, id string) machine.Machine {
	t.Helper()
	b := p.Bundles.Bundle(id)
	r, err := p.Bundles.Identify(id)
	settings, settingsErr := b.Settings()
	if err := errors.Join(err, settingsErr); err != nil {
		t.Fatal(err)
	}
	bundletest.CheckMarked(t, b.Path(bundle.DiskFile))
	return machine.Machine{Spec: r.Spec(settings), Created: r.CreatedDate}
}

// newAppleBundle makes a directory with the bundle "ubuntu" with the given files and a marked disk.
func newAppleBundle(t *testing.T, p store, files map[string]string) Import {
	t.Helper()
	o := Import{Dir: t.TempDir(), ID: "ubuntu"}
	dir := filepath.Join(o.Dir, o.ID)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := bundle.CloneFile(t.Context(), filepath.Join(dir, bundle.DiskFile), p.disk); err != nil {
		t.Fatal(err)
	}
	bundletest.Mark(t, filepath.Join(dir, bundle.DiskFile))
	return o
}

// sums returns the digests and modification times of all files in dir and below.
func sums(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		sum := sha256.Sum256(data)
		all[path] = string(sum[:]) + info.ModTime().String()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestImport(t *testing.T) {
	date := time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)
	newer, seconds, older, bare := appleFiles(), appleFiles(), appleFiles(), appleFiles()
	seconds[bundle.ConfigFile] = `{"configuration":` + appleInner + `,"createdDate":799322400}`
	older[bundle.ConfigFile] = appleInner
	delete(bare, bundle.BootConfigFile)
	nested := appleFiles()
	nested[bundle.ConfigFile] = strings.Replace(newer[bundle.ConfigFile], `"size":7,"digest":`, `"descriptor":{"size":7,"digest":`, 1)
	nested[bundle.ConfigFile] = strings.Replace(nested[bundle.ConfigFile], `"},"platform"`, `"}},"platform"`, 1)
	for name, tt := range map[string]struct {
		files   map[string]string
		created time.Time
	}{
		"newer form":                     {newer, date},
		"a date in Foundation's seconds": {seconds, date},
		"older form":                     {older, time.Time{}},
		"a digest in a descriptor":       {nested, date},
		"no settings":                    {bare, date},
	} {
		t.Run(name, func(t *testing.T) {
			p := newImporter(t)
			o := newAppleBundle(t, p, tt.files)
			before := sums(t, o.Dir)
			if err := p.Check(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			if err := p.Import(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(before, sums(t, o.Dir)); d != "" {
				t.Errorf("the original was changed:\n%s", d)
			}
			m := checkImported(t, p, "ubuntu")
			want := machine.Settings{CPUs: 3, Memory: 2 * size.GiB, Disk: 96 * size.MiB, Kernel: "/k/vmlinux", Virtualization: true, HomeMount: machine.HomeReadOnly}
			if name == "no settings" {
				want = host.DefaultSettings()
				want.Disk = 96 * size.MiB
			}
			if d := cmp.Diff(want, m.Settings); d != "" {
				t.Errorf("settings mismatch (-want +got):\n%s", d)
			}
			if !m.Created.Equal(tt.created) || m.Image != "local/ubuntu:1" || m.Digest != "sha256:"+strings.Repeat("1", 64) ||
				m.Owner != (machine.Owner{}) || m.User != (machine.User{Name: "ann", UID: 501, GID: 20}) || m.Platform != platform.Host() {
				t.Errorf("the machine is %+v", m)
			}
			if id, err := p.Bundles.Default(); id != "ubuntu" || err != nil {
				t.Errorf("the default machine is %q, %v", id, err)
			}
			if left := bundletest.Names(t, p.Bundles); left != "ubuntu" {
				t.Errorf("files are %s", left)
			}
			var exists *machine.ExistsError
			if err := p.Import(t.Context(), o); !errors.As(err, &exists) {
				t.Errorf("the second import = %v", err)
			}
		})
	}
}

func TestImportKeepsUnknownKeys(t *testing.T) {
	older := appleFiles()
	older[bundle.ConfigFile] = appleInner
	for name, files := range map[string]map[string]string{"newer": appleFiles(), "older": older} {
		p := newImporter(t)
		o := newAppleBundle(t, p, files)
		o.Name = "mine"
		if err := p.Import(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		// A later rewrite must keep them too.
		b := p.Bundles.Bundle("mine")
		r, err := b.Record()
		r.Stead.Project, r.Stead.File = "us", "/f"
		if err := errors.Join(err, b.WriteRecord(r)); err != nil {
			t.Fatal(err)
		}
		for file, keys := range map[string][]string{
			bundle.ConfigFile:     {`"future":{"x":1}`, `"mediaType":"application/vnd.oci.image.index.v1+json"`, `"size":7`, `"osFeatures":[]`, `"shell":"/bin/zsh"`, `"id":"mine"`, `"project":"us"`},
			bundle.BootConfigFile: {`"rosetta":true`},
		} {
			data, err := os.ReadFile(b.Path(file))
			if err != nil {
				t.Fatal(err)
			}
			var compact bytes.Buffer
			if err := json.Compact(&compact, data); err != nil {
				t.Fatal(err)
			}
			for _, key := range keys {
				if !strings.Contains(compact.String(), key) {
					t.Errorf("%s form: %s lacks %s:\n%s", name, file, key, data)
				}
			}
		}
	}
}

func TestImportFails(t *testing.T) {
	rewrite := func(file, old, text string) func(*testing.T, store, *Import, string) {
		return func(t *testing.T, _ store, _ *Import, dir string) {
			data, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, file), bytes.Replace(data, []byte(old), []byte(text), 1), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	tests := map[string]struct {
		spoil func(t *testing.T, p store, o *Import, dir string)
		says  string
	}{
		"missing bundle":                    {func(_ *testing.T, _ store, o *Import, _ string) { o.ID = "missing" }, "not found"},
		"a bundle outside of the directory": {func(_ *testing.T, _ store, o *Import, _ string) { o.ID, o.Name = "../x", "x" }, "../x"},
		"an invalid name":                   {func(_ *testing.T, _ store, o *Import, _ string) { o.Name = "Not_A_Name" }, "Not_A_Name"},
		"a name that is taken": {func(t *testing.T, p store, o *Import, _ string) {
			if err := os.Mkdir(p.Bundles.Bundle("dev").Dir, 0o700); err != nil {
				t.Fatal(err)
			}
			o.Name = "dev"
		}, "already exists"},
		"another architecture": {rewrite(bundle.ConfigFile, runtime.GOARCH, "riscv64"), "linux/riscv64"},
		"no digest":            {rewrite(bundle.ConfigFile, `"digest"`, `"digset"`), "image reference or digest"},
		"invalid JSON":         {rewrite(bundle.ConfigFile, `{`, `[`), bundle.ConfigFile},
		"invalid settings":     {rewrite(bundle.BootConfigFile, `"cpus":3`, `"cpus":0`), "cpus"},
		"no disk": {func(t *testing.T, _ store, _ *Import, dir string) {
			if err := os.Remove(filepath.Join(dir, bundle.DiskFile)); err != nil {
				t.Fatal(err)
			}
		}, bundle.DiskFile},
		"a truncated disk": {func(t *testing.T, _ store, _ *Import, dir string) {
			if err := os.Truncate(filepath.Join(dir, bundle.DiskFile), 80*size.MiB); err != nil {
				t.Fatal(err)
			}
		}, "truncated"},
		"an invalid disk": {func(t *testing.T, _ store, _ *Import, dir string) {
			if err := os.WriteFile(filepath.Join(dir, bundle.DiskFile), make([]byte, 1<<20), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "ext4"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := newImporter(t)
			o := newAppleBundle(t, p, appleFiles())
			tt.spoil(t, p, &o, filepath.Join(o.Dir, "ubuntu"))
			before := bundletest.Names(t, p.Bundles)
			o.Force = true // applies only to disks in use
			for what, err := range map[string]error{"Check": p.Check(t.Context(), o), "Import": p.Import(t.Context(), o)} {
				if err == nil || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("%s: %v, want an error with %q", what, err, tt.says)
				}
			}
			if left := bundletest.Names(t, p.Bundles); left != before {
				t.Errorf("files changed from %s to %s", before, left)
			}
		})
	}
}

func TestDiskInUseNeedsForce(t *testing.T) {
	uses := map[string]func(t *testing.T, disk string){
		"mounted file system": func(t *testing.T, disk string) {
			f, err := os.OpenFile(disk, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			flags := make([]byte, 1) // of s_feature_incompat, in the superblock at 1024
			if _, err := f.ReadAt(flags, 1024+0x60); err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt([]byte{flags[0] | 4}, 1024+0x60); err != nil {
				t.Fatal(err)
			}
		},
		"locked by another program": func(t *testing.T, disk string) {
			l := flock.New(disk, flock.SetFlag(os.O_RDWR))
			if ok, err := l.TryLock(); err != nil || !ok {
				t.Fatal(ok, err)
			}
			t.Cleanup(func() { l.Unlock() })
		},
	}
	for name, use := range uses {
		t.Run(name, func(t *testing.T) {
			p := newImporter(t)
			o := newAppleBundle(t, p, appleFiles())
			use(t, filepath.Join(o.Dir, "ubuntu", bundle.DiskFile))
			var refused *ImportError
			if err := p.Import(t.Context(), o); !errors.As(err, &refused) || !strings.Contains(refused.Remedy(), "--force") {
				t.Fatalf("Import = %v", err)
			}
			if left := bundletest.Names(t, p.Bundles); left != "" {
				t.Errorf("left behind: %s", left)
			}
			o.Force = true
			if err := p.Import(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			checkImported(t, p, "ubuntu")
		})
	}
}

func TestDiskThatChangesDuringTheCopyFails(t *testing.T) {
	p := newImporter(t)
	o := newAppleBundle(t, p, appleFiles())
	a, err := p.read(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(a.Path(bundle.DiskFile), time.Now(), time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	var changed *ImportError
	if err := p.copy(t.Context(), a, bundle.Bundle{Dir: t.TempDir()}, o); !errors.As(err, &changed) || changed.Remedy() == "" {
		t.Errorf("got %v", err)
	}
}

func TestInterruptedImportLeavesNothing(t *testing.T) {
	p := newImporter(t)
	o := newAppleBundle(t, p, appleFiles())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Import(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if left := bundletest.Names(t, p.Bundles); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

func TestMachines(t *testing.T) {
	p := newImporter(t)
	o := newAppleBundle(t, p, appleFiles())
	if err := os.Mkdir(filepath.Join(o.Dir, "no-machine"), 0o700); err != nil {
		t.Fatal(err)
	}
	ids, err := Machines(o.Dir)
	if d := cmp.Diff([]string{"ubuntu"}, ids); d != "" || err != nil {
		t.Errorf("listed %v, %v", ids, err)
	}
	var none *NoBundlesError
	if _, err := Machines(filepath.Join(o.Dir, "nowhere")); !errors.As(err, &none) || none.Remedy() == "" {
		t.Errorf("missing directory: %v", err)
	}
}

func FuzzReadApple(f *testing.F) {
	f.Add([]byte(appleFiles()[bundle.ConfigFile]), []byte(appleFiles()[bundle.BootConfigFile]))
	f.Add([]byte(appleInner), []byte(`{}`))
	f.Add([]byte(`null`), []byte(`null`))
	f.Add([]byte(`{"configuration":null,"createdDate":1e300}`), []byte(`[]`))
	f.Fuzz(func(t *testing.T, what, boot []byte) {
		dir := t.TempDir()
		for name, data := range map[string][]byte{bundle.ConfigFile: what, bundle.BootConfigFile: boot} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := readSource(dir); err == nil {
			t.Error("a bundle without a disk was accepted")
		}
	})
}
