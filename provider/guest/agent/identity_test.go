//go:build linux

package agent

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/ssh"
)

// identityFiles are those of an image that was made from a running machine.
func identityFiles(t *testing.T, root string) {
	t.Helper()
	for path, text := range map[string]string{
		"etc/machine-id": "0123456789abcdef0123456789abcdef\n", "etc/ssh/ssh_host_ed25519_key": "the image's", "etc/ssh/ssh_host_ed25519_key.pub": "the image's",
		"etc/ssh/ssh_host_ecdsa_key": "the image's", "etc/ssh/ssh_host_dsa_key": "the image's", "var/lib/systemd/random-seed": "the image's", "etc/ssh/sshd_config": "# mine\n",
	} {
		path = filepath.Join(root, path)
		if err := firstError(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNewMachineGetsAnIdentityOfItsOwn(t *testing.T) {
	root := t.TempDir()
	identityFiles(t, root)
	if err := ensureIdentity(root, "one"); err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{"etc/machine-id", "etc/ssh/ssh_host_dsa_key", "var/lib/systemd/random-seed"} {
		if _, err := os.Lstat(filepath.Join(root, gone)); err == nil {
			t.Errorf("%s is still the image's", gone)
		}
	}
	keys := func() (all string) {
		t.Helper()
		for _, kind := range []string{"ed25519", "ecdsa"} {
			path := filepath.Join(root, "etc/ssh/ssh_host_"+kind+"_key")
			private, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			signer, err := ssh.ParsePrivateKey(private)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			public, err := os.ReadFile(path + ".pub")
			if err != nil || string(public) != string(ssh.MarshalAuthorizedKey(signer.PublicKey())) {
				t.Errorf("%s.pub is %q; %v", path, public, err)
			}
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v; %v", path, info.Mode(), err)
			}
			all += string(public)
		}
		return all
	}
	first := keys()
	for _, again := range []struct {
		machine string
		same    bool
	}{{"one", true}, {"", true}, {"a clone of one", false}} {
		if err := ensureIdentity(root, again.machine); err != nil {
			t.Fatal(err)
		}
		if got := keys() == first; got != again.same {
			t.Errorf("machine %q has the same keys: %v, want %v", again.machine, got, again.same)
		}
	}
}

func TestMachineOfAnOlderAgentKeepsItsIdentity(t *testing.T) {
	root := t.TempDir()
	identityFiles(t, root)
	if err := os.WriteFile(filepath.Join(root, "etc/hosts"), []byte("127.0.0.1\tlocalhost\n10.0.2.15\tdev dev.machine\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := ensureIdentity(root, "one"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "etc/machine-id")); err != nil {
		t.Error(err)
	}
	if err := ensureIdentity(root, "a clone"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "etc/machine-id")); err == nil {
		t.Error("the clone of a machine has its machine-id")
	}
}
