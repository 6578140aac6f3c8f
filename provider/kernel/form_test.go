package kernel

import (
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestFormOf(t *testing.T) {
	var gzipped bytes.Buffer
	z := gzip.NewWriter(&gzipped)
	if _, err := z.Write(arm64Image("6.1.0")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		image []byte
		want  Form
	}{
		"x86":                  {bzImage("6.1.0", nil), BzImage},
		"arm64":                {arm64Image("6.1.0"), Image},
		"arm64, gzipped":       {gzipped.Bytes(), GzippedImage},
		"as linked":            {vmlinux("Linux version 6.1.0 ", nil), Vmlinux},
		"arm64, only its head": {arm64Image("6.1.0")[:64], Image},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "kernel")
			if err := os.WriteFile(path, tt.image, 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := FormOf(path); err != nil || got != tt.want {
				t.Errorf("FormOf = %v, %v, want %v", got, err, tt.want)
			}
		})
	}
}

func TestFormOfOtherFiles(t *testing.T) {
	for name, text := range map[string]string{"text": "#!/bin/sh\necho hello\n", "nothing": ""} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "kernel")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			var none *NotKernelError
			if _, err := FormOf(path); !errors.As(err, &none) {
				t.Errorf("FormOf = %v, want a NotKernelError", err)
			}
		})
	}
	if _, err := FormOf(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("FormOf = %v, want an error that the file does not exist", err)
	}
}
