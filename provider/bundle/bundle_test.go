package bundle

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stead-vm/stead/provider/host"
	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/platform"
	"github.com/stead-vm/stead/provider/size"

	"github.com/google/go-cmp/cmp"
)

func newBundle(t *testing.T, files map[string]string) Bundle {
	t.Helper()
	b := Bundle{t.TempDir()}
	for name, text := range files {
		if err := os.WriteFile(b.Path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func TestBootConfigOfApplesTool(t *testing.T) {
	defaults := host.DefaultSettings()
	tests := map[string]struct {
		file string
		want func(*machine.Settings)
	}{
		"empty object": {`{}`, func(*machine.Settings) {}},
		"Apple's five keys": {
			`{"cpus":6,"memory":"8gb","homeMount":"ro","virtualization":true,"kernelPath":"/k/vmlinux"}`,
			func(s *machine.Settings) {
				s.CPUs, s.Memory, s.HomeMount, s.Virtualization, s.Kernel = 6, 8*size.GiB, machine.HomeReadOnly, true, "/k/vmlinux"
			},
		},
		"memory of a bare number is bytes": {`{"memory":"2147483648"}`, func(s *machine.Settings) { s.Memory = 2 * size.GiB }},
		"units in any case, always binary": {`{"memory":"2048MiB"}`, func(s *machine.Settings) { s.Memory = 2 * size.GiB }},
		"stead's keys":                     {`{"disk":"10gb","services":["a","b"]}`, func(s *machine.Settings) { s.Disk, s.Services = 10*size.GiB, []string{"a", "b"} }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			want := defaults
			tt.want(&want)
			got, err := newBundle(t, map[string]string{BootConfigFile: tt.file}).Settings()
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("settings mismatch (-want +got):\n%s", d)
			}
		})
	}
}

func TestInvalidBootConfig(t *testing.T) {
	for name, file := range map[string]string{
		"zero cpus":               `{"cpus":0}`,
		"too little memory":       `{"memory":"512mb"}`,
		"a fraction":              `{"memory":"1.5gb"}`,
		"an unknown mount":        `{"homeMount":"rx"}`,
		"memory as a number":      `{"memory":4}`,
		"not JSON":                `cpus=4`,
		"a truncated file":        `{"cpus":4`,
		"a negative disk":         `{"disk":"-4gb"}`,
		"text that is not a size": `{"disk":"big"}`,
	} {
		t.Run(name, func(t *testing.T) {
			if s, err := newBundle(t, map[string]string{BootConfigFile: file}).Settings(); err == nil {
				t.Errorf("Settings = %+v, want an error", s)
			}
		})
	}
}

func TestWriteSettings(t *testing.T) {
	want := machine.Settings{CPUs: 3, Memory: 1536 * size.MiB, Disk: 10 * size.GiB, Kernel: "/k", Virtualization: true, HomeMount: machine.HomeNone, NoSSHAgent: true, Services: []string{"x"}}
	b := newBundle(t, nil)
	if err := b.WriteSettings(want); err != nil {
		t.Fatal(err)
	}
	got, err := b.Settings()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("settings mismatch (-want +got):\n%s", d)
	}
}

func TestWriteSettingsKeepsUnknownKeysAndRemovesResetOnes(t *testing.T) {
	b := newBundle(t, map[string]string{BootConfigFile: `{"future":{"x":1},"kernelPath":"/old","services":["gone"]}`})
	s := host.DefaultSettings()
	if err := b.WriteSettings(s); err != nil {
		t.Fatal(err)
	}
	var got map[string]json.RawMessage
	if err := b.ReadJSON(BootConfigFile, &got); err != nil {
		t.Fatal(err)
	}
	var future struct{ X int }
	if err := json.Unmarshal(got["future"], &future); err != nil || future.X != 1 {
		t.Errorf("the unknown key became %s (%v)", got["future"], err)
	}
	if got["kernelPath"] != nil || got["services"] != nil {
		t.Errorf("reset keys are still there: %s %s", got["kernelPath"], got["services"])
	}
}

func TestSizeText(t *testing.T) {
	for n, want := range map[int64]string{2 * size.GiB: "2gb", 1536 * size.MiB: "1536mb", 1: "1b", 3 << 10: "3kb", 5 << 40: "5tb", 1 << 50: "1pb"} {
		if got := sizeText(n); got != want {
			t.Errorf("sizeText(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestRecordFormats(t *testing.T) {
	created := time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)
	inner := `{"id":"dev","image":{"mediaType":"m","size":3,"digest":"sha256:1","reference":"debian:12"},` +
		`"platform":{"os":"linux","architecture":"amd64"},"userSetup":{"username":"ann","uid":1000,"gid":1000}}`
	for name, file := range map[string]string{
		"with a creation date":          `{"configuration":` + inner + `,"createdDate":"2026-05-01T10:00:00Z"}`,
		"only the inner object (older)": inner,
		"stead's":                       `{"configuration":` + inner + `,"createdDate":"2026-05-01T10:00:00Z","stead":{"version":1,"project":"p"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			r, err := newBundle(t, map[string]string{ConfigFile: file}).Record()
			if err != nil {
				t.Fatal(err)
			}
			s := r.Spec(machine.Settings{})
			if s.ID != "dev" || s.Image != "debian:12" || s.Digest != "sha256:1" || s.User.Name != "ann" || s.Platform.String() != "linux/amd64" {
				t.Errorf("read %+v", s)
			}
			if !r.CreatedDate.IsZero() && !r.CreatedDate.Equal(created) {
				t.Errorf("created %v", r.CreatedDate)
			}
		})
	}
}

func TestRecordWithoutPlatformHasTheHosts(t *testing.T) {
	b := Bundle{t.TempDir()}
	if err := os.WriteFile(b.Path(ConfigFile), []byte(`{"id":"dev","image":{"digest":"sha256:1","reference":"debian:12"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := b.Record()
	if want := platform.Host(); err != nil || platform.Platform(r.Configuration.Platform) != want {
		t.Errorf("the platform is %q, %v, want %q", r.Configuration.Platform, err, want)
	}
}

func TestNewerRecordIsRefused(t *testing.T) {
	b := newBundle(t, map[string]string{ConfigFile: `{"configuration":{"id":"dev"},"stead":{"version":99,"writtenBy":"7.0"}}`})
	_, err := b.Record()
	var newer *NewerFormError
	if !errors.As(err, &newer) || newer.WrittenBy != "7.0" {
		t.Errorf("got %v", err)
	}
}

func TestWriteRecordKeepsUnknownKeys(t *testing.T) {
	b := newBundle(t, map[string]string{ConfigFile: `{"configuration":{"id":"dev","extra":7,"image":{"reference":"a"}}}`})
	r, err := b.Record()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.WriteRecord(r); err != nil {
		t.Fatal(err)
	}
	var got struct{ Configuration map[string]any }
	if err := b.ReadJSON(ConfigFile, &got); err != nil {
		t.Fatal(err)
	}
	if got.Configuration["extra"] != 7.0 {
		t.Errorf("extra is %v", got.Configuration["extra"])
	}
}

func TestDamagedDefaultMachineIsNoneAndCanBeSetAgain(t *testing.T) {
	s, log := newStore(t, 0)
	if err := os.Mkdir(s.Bundle("dev").Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.Home(), stateFile)
	if err := os.WriteFile(path, []byte(`{"defaultMachine": 5}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if id, err := s.Default(); id != "" || err != nil || !strings.Contains(log.String(), path) {
		t.Errorf("Default = %q, %v, logged %q", id, err, log)
	}
	if err := s.SetDefault("dev"); err != nil {
		t.Fatal(err)
	}
	if id, err := s.Default(); id != "dev" || err != nil {
		t.Errorf("Default = %q, %v", id, err)
	}
}
