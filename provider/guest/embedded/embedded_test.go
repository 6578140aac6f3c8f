package embedded

import (
	"bytes"
	"compress/gzip"
	"errors"
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
		t.Error("half an agent is no error")
	}
}

func TestAgentForAnUnknownArchitectureIsMissing(t *testing.T) {
	if _, err := Find("pdp11"); !errors.Is(err, ErrMissing) {
		t.Errorf("got %v", err)
	}
	if _, err := Agent("").Program(); !errors.Is(err, ErrMissing) {
		t.Errorf("got %v", err)
	}
}
