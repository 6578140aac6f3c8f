package local

import (
	"bytes"
	"os"
	"testing"

	"github.com/stead-vm/stead/provider/bundle"
)

func TestSharedInodesLimitIsPassedToTheGuest(t *testing.T) {
	p, s := newMac(t, newPublisher(t, "6.18.15"))
	if err := p.Create(t.Context(), s, nil); err != nil {
		t.Fatal(err)
	}
	for limit, want := range map[int]bool{20_000: true, 0: false} {
		p.Loader.Driver = appleDriver{sharedInodes: limit}
		if _, err := bootedKernel(t, p, s.ID); err != nil {
			t.Fatal(err)
		}
		initrd, err := os.ReadFile(p.Bundles.Bundle(s.ID).Path(bundle.InitrdFile))
		if err != nil {
			t.Fatal(err)
		}
		if got := bytes.Contains(initrd, []byte(`"sharedInodes":20000`)); got != want || !bytes.Contains(initrd, []byte(`"hostname"`)) {
			t.Errorf("with a limit of %d, the guest gets one: %v", limit, got)
		}
	}
}
