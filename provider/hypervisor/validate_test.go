package hypervisor

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	none := filepath.Join(dir, "none")
	caps := Capabilities{Archs: []string{"arm64"}, MaxCPUs: 8, NestedWhy: "switched off"}
	tests := map[string]struct {
		change  func(*Config)
		message string // empty: c is valid
	}{
		"valid machine":                  {change: func(*Config) {}},
		"no processor":                   {change: func(c *Config) { c.CPUs = 0 }, message: "cpus = 0"},
		"too many processors":            {change: func(c *Config) { c.CPUs = 9 }, message: "cpus = 9 is more than this host offers (8)"},
		"another processor":              {change: func(c *Config) { c.Arch = "riscv64" }, message: "riscv64 processors are not supported here"},
		"the host's processor":           {change: func(c *Config) { c.Arch = "arm64" }},
		"nested virtualization":          {change: func(c *Config) { c.Nested = true }, message: "not supported here: switched off"},
		"too little memory":              {change: func(c *Config) { c.Memory = 1 << 20 }, message: "memory = 1M"},
		"more memory than the host":      {change: func(c *Config) { c.Memory = 5 << 30 }, message: "memory = 5G is more than this host offers (4G)"},
		"missing kernel":                 {change: func(c *Config) { c.Kernel = none }, message: "none: no such file"},
		"missing disk":                   {change: func(c *Config) { c.Disks = []Disk{{Path: none}} }, message: "none: no such file"},
		"too long serial":                {change: func(c *Config) { c.Disks = []Disk{{Path: file, Serial: strings.Repeat("x", 21)}} }, message: "at most 20 bytes"},
		"serial with a non-ASCII letter": {change: func(c *Config) { c.Disks = []Disk{{Path: file, Serial: "wurzel-ä"}} }, message: "must be ASCII"},
		"missing share":                  {change: func(c *Config) { c.Shares = []Share{{Tag: "home", Path: none}} }, message: "none: no such file"},
		"share of a file":                {change: func(c *Config) { c.Shares = []Share{{Tag: "home", Path: file}} }, message: "is not a directory"},
		"too long tag":                   {change: func(c *Config) { c.Shares = []Share{{Tag: strings.Repeat("x", 37), Path: dir}} }, message: "1 to 36 bytes"},
		"duplicate tag":                  {change: func(c *Config) { c.Shares = []Share{{Tag: "home", Path: dir}, {Tag: "home", Path: dir}} }, message: `the tag "home" is already used`},
		"short MAC address":              {change: func(c *Config) { c.Network = &Network{MAC: []byte{1, 2, 3}} }, message: "must be 6 bytes"},
		"too long command line":          {change: func(c *Config) { c.Cmdline = strings.Repeat("x", 1025) }, message: "longer than 1024 bytes"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := Config{CPUs: 1, Memory: 1 << 30, Kernel: file}
			tt.change(&c)
			err := Check(c, caps, 4<<30)
			if tt.message == "" && err != nil || tt.message != "" && (err == nil || !strings.Contains(err.Error(), tt.message)) {
				t.Errorf("Check = %v, want %q", err, tt.message)
			}
		})
	}
}

func TestCheckReportsEverythingAtOnce(t *testing.T) {
	err := Check(Config{CPUs: 100, Nested: true, Kernel: "/none"}, Capabilities{MaxCPUs: 4, NestedWhy: "switched off"}, 1<<30)
	var limit *LimitError
	if !errors.As(err, &limit) || !strings.Contains(limit.Remedy(), "set cpus to 4 or less") {
		t.Errorf("Check = %v, want a LimitError with its remedy", err)
	}
	if !errors.Is(err, ErrUnsupported) || !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "memory = 0:") {
		t.Errorf("Check = %v, want everything else too", err)
	}
}
