package vz

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/hypervisor"
)

func TestCapabilitiesOfThisMac(t *testing.T) {
	caps, err := New(Options{}).Capabilities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !caps.Vsock || caps.MaxCPUs < 1 || caps.SharedInodes == 0 || !slices.Equal(caps.Archs, []string{runtime.GOARCH}) || caps.Nested != (caps.NestedWhy == "") {
		t.Errorf("Capabilities = %+v", caps)
	}
	for _, found := range New(Options{}).Examine(t.Context()) {
		t.Logf("%s: %v: %s", found.Topic, found.Verdict, found.Detail)
	}
}

// Test programs are not signed with the entitlement.
func TestUnsignedProgramGetsAnEntitlementError(t *testing.T) {
	if support, err := unix.SysctlUint32("kern.hv_support"); err != nil || support == 0 {
		t.Skip("this Mac cannot run virtual machines, which the framework may report first")
	}
	err := New(Options{}).Validate(t.Context(), hypervisor.Config{CPUs: 1, Memory: 1 << 30})
	var unsigned *EntitlementError
	if !errors.As(err, &unsigned) {
		t.Errorf("Validate = %v, want an EntitlementError", err)
	}
}

func TestIdentifierStaysTheSame(t *testing.T) {
	path := filepath.Join(t.TempDir(), "identity")
	made, err := identifier(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := identifier(path)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(made.DataRepresentation(), again.DataRepresentation()) {
		t.Error("a machine got another identifier")
	}
}

func TestDamagedIdentifierIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "identity")
	if err := os.WriteFile(path, []byte("no identifier"), 0o600); err != nil {
		t.Fatal(err)
	}
	var damaged *IdentityError
	if _, err := identifier(path); !errors.As(err, &damaged) {
		t.Errorf("identifier = %v, want an IdentityError", err)
	}
}
