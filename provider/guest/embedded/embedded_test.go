package embedded

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"errors"
	"strings"
	"testing"
)

func TestAgentIsUnpackedAsItWasPacked(t *testing.T) {
	want := bytes.Repeat([]byte("agent"), 100_000)
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(want); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	half := bytes.NewReader(bytes.Clone(packed.Bytes()[:packed.Len()/2]))
	got, err := unpack(&packed)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes came out, %v", len(got), err)
	}
	if _, err := unpack(half); err == nil {
		t.Error("a truncated agent was accepted")
	}
}

// The embedded agents are complete and for their architecture.
func TestAgentsAreProgramsOfTheirArchitecture(t *testing.T) {
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		t.Run(arch, func(t *testing.T) {
			a, err := Find(arch)
			var missing *MissingError
			if errors.As(err, &missing) {
				t.Skipf("needs \"make agents\", which CI runs first: %v", err)
			}
			program, err := a.Program()
			if err != nil {
				t.Fatal(err)
			}
			f, err := elf.NewFile(bytes.NewReader(program))
			if err != nil || f.Machine != machine {
				t.Errorf("the agent for %s is %v, %v", arch, f, err)
			}
		})
	}
}

func TestAgentForAnUnknownArchitectureIsMissing(t *testing.T) {
	_, err := Find("pdp11")
	var missing *MissingError
	if !errors.As(err, &missing) || !strings.Contains(err.Error(), "linux/pdp11") || !strings.Contains(missing.Remedy(), "make build") {
		t.Errorf("got %v", err)
	}
	if _, err := Agent("").Program(); err == nil {
		t.Error("a missing agent was unpacked without an error")
	}
}
