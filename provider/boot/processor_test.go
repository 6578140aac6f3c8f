package boot

import (
	"errors"
	"strings"
	"testing"

	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/platform"

	"github.com/stead-vm/stead/provider/hypervisor"
)

func TestProcessorFor(t *testing.T) {
	mac := hypervisor.Capabilities{Archs: []string{"arm64"}, Translates: "amd64"}
	linux := hypervisor.Capabilities{Archs: []string{"amd64", "arm64"}}
	tests := map[string]struct {
		caps     hypervisor.Capabilities
		platform string
		want     processor
		remedy   string // of the error
	}{
		"the host's":               {caps: linux, platform: "linux/amd64", want: processor{arch: "amd64"}},
		"emulated":                 {caps: linux, platform: "linux/arm64/v8", want: processor{arch: "arm64"}},
		"translated":               {caps: mac, platform: "linux/amd64", want: processor{arch: "arm64", rosetta: true}},
		"unsupported":              {caps: mac, platform: "linux/s390x", remedy: "linux/arm64 or linux/amd64"},
		"another operating system": {caps: linux, platform: "windows/amd64", remedy: "linux/amd64 or linux/arm64"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			platform, err := platform.Parse(tt.platform)
			if err != nil {
				t.Fatal(err)
			}
			got, err := processorFor(platform, tt.caps)
			var refused *PlatformError
			if got != tt.want || errors.As(err, &refused) != (tt.remedy != "") {
				t.Fatalf("processorFor = %+v, %v, want %+v", got, err, tt.want)
			}
			if refused != nil && (!strings.Contains(err.Error(), tt.platform) || !strings.HasSuffix(refused.Remedy(), tt.remedy)) {
				t.Errorf("%v; %s", err, refused.Remedy())
			}
		})
	}
}

func TestNestedVirtualizationNeedsTheHostsProcessor(t *testing.T) {
	caps := hypervisor.Capabilities{Archs: []string{"amd64", "arm64"}, Nested: true}
	wanted := machine.Settings{Virtualization: true}
	if err := checkNested(wanted, processor{arch: "amd64"}, caps); err != nil {
		t.Error(err)
	}
	if err := checkNested(machine.Settings{}, processor{arch: "arm64"}, caps); err != nil {
		t.Error(err)
	}
	err := checkNested(wanted, processor{arch: "arm64"}, caps)
	var refused *NoVirtualizationError
	if !errors.As(err, &refused) || !strings.Contains(refused.Why, "arm64") || !strings.Contains(refused.Remedy(), "linux/amd64") {
		t.Errorf("on an emulated processor: %v", err)
	}
	caps.Nested, caps.NestedWhy = false, "switched off"
	err = checkNested(wanted, processor{arch: "amd64"}, caps)
	if !errors.As(err, &refused) || refused.Why != "switched off" || !strings.Contains(refused.Remedy(), "use a host that supports it") {
		t.Errorf("on a host that cannot: %v", err)
	}
}
