package vz

import (
	"errors"
	"strings"
	"testing"
)

func TestErrorsOfTheFramework(t *testing.T) {
	tests := map[string]struct {
		said     FrameworkError
		want     string
		unsigned bool
	}{
		"a refusal": {
			said: FrameworkError{Description: "Invalid virtual machine configuration. The storage device attachment is invalid."},
			want: "start the machine: Invalid virtual machine configuration. The storage device attachment is invalid. (VZErrorDomain 2)",
		},
		"a refusal with an underlying error": {
			said: FrameworkError{
				Description: "The virtual machine failed to start.",
				Details: "{\n    NSLocalizedFailure = \"The virtual machine failed to start.\";\n" +
					"    NSUnderlyingError = \"Error Domain=NSPOSIXErrorDomain Code=16 \\\"Resource busy\\\"\";\n}",
			},
			want: "start the machine: The virtual machine failed to start. (VZErrorDomain 2): Resource busy (NSPOSIXErrorDomain 16)",
		},
		"no entitlement": {
			said: FrameworkError{
				Description: "Invalid virtual machine configuration. The process doesn’t have the “com.apple.security.virtualization” entitlement.",
			},
			want: "not signed with the entitlement com.apple.security.virtualization", unsigned: true,
		},
		"no entitlement, in another language": {
			said: FrameworkError{
				Description: "Die Konfiguration ist ungültig.",
				Details:     `{ NSLocalizedFailureReason = "… \U201ccom.apple.security.virtualization\U201d …"; }`,
			},
			want: "not signed with the entitlement com.apple.security.virtualization", unsigned: true,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.said.Doing, tt.said.Domain, tt.said.Code = "start the machine", "VZErrorDomain", 2
			err := tt.said.classified()
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %q, want %q", err, tt.want)
			}
			var unsigned *EntitlementError
			if errors.As(err, &unsigned) != tt.unsigned {
				t.Fatalf("the error is %T, want an EntitlementError: %v", err, tt.unsigned)
			}
			if tt.unsigned && (!strings.Contains(unsigned.Remedy(), "make install") || !strings.Contains(unsigned.Remedy(), "codesign")) {
				t.Errorf("the remedy is %q, want both ways to sign", unsigned.Remedy())
			}
			var said *FrameworkError
			if !errors.As(err, &said) {
				t.Error("the FrameworkError is not wrapped")
			}
		})
	}
}
