//go:build linux

package initsys

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stead-vm/stead/provider/guest"
)

// image creates a root file system: "path": "text" for programs, "-> target" for links.
func image(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			err = os.Symlink(target, path)
		} else {
			err = os.WriteFile(path, []byte(text), 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestDetect(t *testing.T) {
	tests := map[string]struct {
		files map[string]string
		want  Init
	}{
		"systemd behind its link": {
			map[string]string{"sbin/init": "-> ../lib/systemd/systemd", "lib/systemd/systemd": "x"},
			Init{Systemd, Systemd, "/sbin/init"},
		},
		"systemd without a link": {
			map[string]string{"usr/lib/systemd/systemd": "x"},
			Init{Systemd, Systemd, "/usr/lib/systemd/systemd"},
		},
		"busybox by link": {
			map[string]string{"sbin/init": "-> ../bin/busybox", "bin/busybox": "x"},
			Init{Busybox, Busybox, "/sbin/init"},
		},
		"OpenRC on busybox, as Alpine has it": {
			map[string]string{"sbin/init": "-> ../bin/busybox", "bin/busybox": "x", "sbin/openrc": "x", "etc/inittab": ""},
			Init{OpenRC, Busybox, "/sbin/init"},
		},
		"OpenRC's own init": {
			map[string]string{"sbin/init": "-> openrc-init", "sbin/openrc-init": "x", "sbin/openrc": "x"},
			Init{OpenRC, OpenRC, "/sbin/init"},
		},
		"sysvinit": {
			map[string]string{"sbin/init": "x", "sbin/telinit": "x", "etc/inittab": ""},
			Init{SysVinit, SysVinit, "/sbin/init"},
		},
		"OpenRC on sysvinit": {
			map[string]string{"sbin/init": "x", "sbin/telinit": "x", "etc/inittab": "", "sbin/openrc": "x"},
			Init{OpenRC, SysVinit, "/sbin/init"},
		},
		"an unknown init":              {map[string]string{"sbin/init": "x"}, Init{Unknown, Unknown, "/sbin/init"}},
		"none":                         {map[string]string{"bin/sh": "x"}, Init{Kind: Agent, PID1: Agent}},
		"a dead link":                  {map[string]string{"sbin/init": "-> nowhere"}, Init{Kind: Agent, PID1: Agent}},
		"OpenRC without any init":      {map[string]string{"sbin/openrc": "x"}, Init{Kind: Agent, PID1: Agent}},
		"systemd tools beside OpenRC ": {map[string]string{"sbin/init": "-> ../lib/systemd/systemd", "lib/systemd/systemd": "x", "sbin/openrc": "x"}, Init{Systemd, Systemd, "/sbin/init"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Detect(image(t, tt.files)); got != tt.want {
				t.Errorf("Detect = %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestParseSignal(t *testing.T) {
	good := map[string]syscall.Signal{
		"": syscall.SIGTERM, "SIGQUIT": syscall.SIGQUIT, "quit": syscall.SIGQUIT, "9": syscall.SIGKILL,
		"SIGRTMIN+3": 37, "RTMIN+4": 38, "SIGRTMIN": 34,
	}
	for text, want := range good {
		if got, err := ParseSignal(text); got != want || err != nil {
			t.Errorf("ParseSignal(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"SIGNONE", "0", "-1", "65", "SIGRTMIN+99", "SIGRTMINx"} {
		if got, err := ParseSignal(text); err == nil {
			t.Errorf("ParseSignal(%q) = %d", text, got)
		}
	}
}

// fakeManager is an init with some services that records its calls.
type fakeManager struct {
	known   []string
	running []string
	asked   []string
	ends    []string // services that end right after their start
}

func (f *fakeManager) ready(context.Context) error { return nil }

func (f *fakeManager) enable(_ context.Context, name string) error {
	f.asked = append(f.asked, "enable "+name)
	if !slices.Contains(f.known, name) {
		return errors.New("Unit " + name + " does not exist")
	}
	f.running = append(f.running, name)
	return nil
}

func (f *fakeManager) disable(_ context.Context, name string) error {
	f.asked = append(f.asked, "disable "+name)
	if !slices.Contains(f.known, name) {
		return errors.New("Unit " + name + " does not exist")
	}
	f.running = slices.DeleteFunc(f.running, func(s string) bool { return s == name })
	return nil
}

func (f *fakeManager) active(_ context.Context, name string) bool {
	return slices.Contains(f.running, name)
}

func (f *fakeManager) failure(_ context.Context, name string) error {
	if slices.Contains(f.ends, name) {
		return errors.New("failed (result: exit-code); its last lines:\nno such directory")
	}
	return nil
}

func TestAServiceThatEndsAtOnceHasFailed(t *testing.T) {
	f := &fakeManager{known: []string{"redis", "postgresql"}, ends: []string{"postgresql"}}
	s := &Services{manager: f, kind: Systemd, record: filepath.Join(t.TempDir(), "services.json")}
	got, err := s.Apply(t.Context(), []string{"postgresql", "redis"})
	want := []guest.ServiceState{
		{Name: "postgresql", Active: true, Error: "failed (result: exit-code); its last lines:\nno such directory"}, {Name: "redis", Active: true},
	}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
}

func TestProcessEnded(t *testing.T) {
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	root := image(t, map[string]string{"runs.pid": fmt.Sprintln(os.Getpid()), "gone.pid": fmt.Sprintln(gone.Process.Pid), "odd.pid": "x"})
	options := t.TempDir()
	for name, want := range map[string]bool{"runs": false, "gone": true, "odd": false, "none": false} {
		if err := os.Mkdir(filepath.Join(options, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(options, name, "pidfile"), []byte(filepath.Join(root, name+".pid")), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := processEnded(options, name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if processEnded(options, "no-pidfile") {
		t.Error("a service without a pid file has ended")
	}
}

func TestFailedState(t *testing.T) {
	for properties, want := range map[string]string{
		"ActiveState=active\nSubState=running\nResult=success\n":                 "",
		"ActiveState=active\nSubState=exited\nResult=success\n":                  "",
		"ActiveState=inactive\nSubState=dead\nResult=success\n":                  "", // a oneshot that is done
		"ActiveState=activating\nSubState=start\nResult=success\n":               "",
		"ActiveState=failed\nSubState=failed\nResult=exit-code\n":                "failed (result: exit-code)",
		"ActiveState=activating\nSubState=auto-restart\nResult=core-dump\n":      "activating (result: core-dump)",
		"Result=start-limit-hit\nActiveState=failed\nSubState=failed\nNRestarts": "failed (result: start-limit-hit)",
		"": "",
	} {
		if got := failedState(properties); got != want {
			t.Errorf("%q: %q, want %q", properties, got, want)
		}
	}
}

func TestServices(t *testing.T) {
	f := &fakeManager{known: []string{"redis", "postgresql"}}
	record := filepath.Join(t.TempDir(), "lib/services.json")
	s := &Services{manager: f, kind: Systemd, record: record}
	steps := []struct {
		name  string
		want  []string
		asked []string
		state []guest.ServiceState
	}{
		{"an empty list calls nothing", nil, nil, []guest.ServiceState{}},
		{
			"services are enabled in their order, once",
			[]string{"redis", "postgresql", "redis"},
			[]string{"enable redis", "enable postgresql"},
			[]guest.ServiceState{{Name: "redis", Active: true}, {Name: "postgresql", Active: true}},
		},
		{
			"a service that is left out is disabled",
			[]string{"redis"},
			[]string{"disable postgresql", "enable redis"},
			[]guest.ServiceState{{Name: "redis", Active: true}},
		},
		{
			"an unknown service fails alone, with the init's message",
			[]string{"redis", "reddis"},
			[]string{"enable redis", "enable reddis"},
			[]guest.ServiceState{{Name: "redis", Active: true}, {Name: "reddis", Error: "Unit reddis does not exist"}},
		},
		{
			"a failed disable is tried again next time", nil,
			[]string{"disable redis", "disable reddis"},
			[]guest.ServiceState{{Name: "reddis", Error: "Unit reddis does not exist"}},
		},
		{
			"a name that looks like an option never reaches the init",
			[]string{"--help"},
			[]string{"disable reddis"},
			[]guest.ServiceState{
				{Name: "reddis", Error: "Unit reddis does not exist"},
				{Name: "--help", Error: `"--help" is not a valid name of a service`},
			},
		},
	}
	for _, step := range steps {
		f.asked = nil
		// A new value each time: the state must be in the record.
		s = &Services{manager: f, kind: Systemd, record: record}
		got, err := s.Apply(t.Context(), step.want)
		if err != nil {
			t.Fatal(step.name, err)
		}
		if d := cmp.Diff(step.state, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, d)
		}
		if !slices.Equal(f.asked, step.asked) {
			t.Errorf("%s: asked %q, want %q", step.name, f.asked, step.asked)
		}
	}
}

func TestServicesNeedAnInitWithServices(t *testing.T) {
	s := NewServices(Busybox, filepath.Join(t.TempDir(), "services.json"))
	if _, err := s.Apply(t.Context(), nil); err != nil {
		t.Errorf("an empty list = %v", err)
	}
	if _, err := s.Apply(t.Context(), []string{"redis"}); !errors.Is(err, ErrNoServices) {
		t.Errorf("a service = %v, want ErrNoServices", err)
	}
}

func TestDamagedRecordIsNamed(t *testing.T) {
	record := filepath.Join(t.TempDir(), "services.json")
	if err := os.WriteFile(record, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := &Services{manager: &fakeManager{}, record: record}
	if _, err := s.Apply(t.Context(), []string{"x"}); err == nil || !strings.Contains(err.Error(), record) {
		t.Errorf("Apply = %v, want the file's name", err)
	}
}
