//go:build linux

package agent

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/guest/agent/account"
)

// tree creates files in a new directory: "path": "text". A path that ends in "/" is a
// directory, one that ends in "*" an executable.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, strings.TrimSuffix(name, "*"))
		dir, mode := filepath.Dir(path), os.FileMode(0o644)
		if strings.HasSuffix(name, "/") {
			dir = path
		}
		if strings.HasSuffix(name, "*") {
			mode = 0o755
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if dir == path {
			continue
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestHosts(t *testing.T) {
	network := &guest.Network{Address: "10.0.2.15/24"}
	const begin, end = hostsBegin + "\n127.0.0.1\tlocalhost\n", hostsEnd + "\n"
	const v6 = "::1\tlocalhost ip6-localhost ip6-loopback\n"
	tests := map[string]struct {
		old     string
		network *guest.Network
		want    string
	}{
		"an image without the file": {
			network: network,
			want:    begin + "10.0.2.15\tdev dev.machine\n" + v6 + end,
		},
		"keeps the image's lines": {
			old: "127.0.0.1 localhost\n::1 localhost\n# mine\n1.2.3.4 db", network: network,
			want: begin + "10.0.2.15\tdev dev.machine\n" + end + "127.0.0.1 localhost\n::1 localhost\n# mine\n1.2.3.4 db",
		},
		"keeps the user's lines that name the machine": {
			old: "192.0.2.10 dev.corp.example dev api\n# servers of the dev cluster\n", network: network,
			want: begin + "10.0.2.15\tdev dev.machine\n" + v6 + end + "192.0.2.10 dev.corp.example dev api\n# servers of the dev cluster\n",
		},
		"replaces its own lines, whatever the machine's name was": {
			old:     "192.0.2.1 above\n" + begin + "10.9.9.9\told old.machine\n" + v6 + end + "192.0.2.2 below\n",
			network: network,
			want:    begin + "10.0.2.15\tdev dev.machine\n" + v6 + end + "192.0.2.1 above\n192.0.2.2 below\n",
		},
		"replaces what older agents wrote": {
			old: "127.0.0.1\tlocalhost\n10.9.9.9\told old.machine\n::1 localhost\n", network: network,
			want: begin + "10.0.2.15\tdev dev.machine\n" + end + "127.0.0.1\tlocalhost\n::1 localhost\n",
		},
		"a machine without an address yet": {
			network: &guest.Network{DHCP: true},
			want:    begin + "127.0.1.1\tdev dev.machine\n" + v6 + end,
		},
		"a machine without a network": {
			want: begin + "127.0.1.1\tdev dev.machine\n" + v6 + end,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := hosts(tt.old, "dev", tt.network)
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("hosts (-want +got):\n%s", d)
			}
			if again := hosts(got, "dev", tt.network); again != got {
				t.Errorf("not idempotent: %q", again)
			}
		})
	}
}

func TestHostNameThatTheUserChose(t *testing.T) {
	for text, want := range map[string]string{"": "", "\n# mine\n": "", "# mine\n box \nother\n": "box", "box": "box"} {
		if got := chosenName(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestDefaultShell(t *testing.T) {
	bash, zsh, sh := "bin/bash*", "bin/zsh*", "bin/sh*"
	tests := map[string]struct {
		files map[string]string
		want  string
	}{
		"DSHELL of adduser":                   {map[string]string{bash: "", zsh: "", "etc/adduser.conf": "DSHELL=/bin/zsh\n"}, "/bin/zsh"},
		"adduser's own default is bash":       {map[string]string{bash: "", sh: "", "etc/adduser.conf": "#DSHELL=/bin/bash\n", "etc/default/useradd": "SHELL=/bin/sh\n"}, "/bin/bash"},
		"SHELL of useradd":                    {map[string]string{bash: "", sh: "", "etc/default/useradd": "# x\nSHELL=\"/bin/sh\"\n"}, "/bin/sh"},
		"ignores a missing shell":             {map[string]string{bash: "", "etc/default/useradd": "SHELL=/bin/fish\n"}, "/bin/bash"},
		"without either, bash":                {map[string]string{bash: "", sh: ""}, "/bin/bash"},
		"without either and without bash, sh": {map[string]string{sh: ""}, "/bin/sh"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := defaultShell(tree(t, tt.files)); got != tt.want {
				t.Errorf("shell = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestWriteAccount(t *testing.T) {
	root := tree(t, map[string]string{"etc/passwd": "root:x:0:0::/root:/bin/sh\n", "etc/group": "root:x:0:\n", "etc/shadow": "root:*:::::::\n"})
	etc := filepath.Join(root, "etc")
	if err := os.Chmod(filepath.Join(etc, "shadow"), 0o600); err != nil {
		t.Fatal(err)
	}
	alice := account.User{Name: "alice", UID: 1000, GID: 1000, Home: "/home/alice", Shell: "/bin/sh"}
	for range 2 {
		if u, err := writeAccount(root, alice); err != nil || u != alice {
			t.Fatal(u, err)
		}
		if err := grantSudo(etc, "al.ice"); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]struct {
		text string
		mode os.FileMode
	}{
		"passwd":           {"root:x:0:0::/root:/bin/sh\nalice:x:1000:1000:alice:/home/alice:/bin/sh\n", 0o644},
		"group":            {"root:x:0:\nalice:x:1000:\n", 0o644},
		"shadow":           {"root:*:::::::\nalice:*:::::::\n", 0o600},
		"sudoers.d/al_ice": {"al.ice ALL=(ALL) NOPASSWD:ALL\n", 0o440},
	}
	for name, w := range want {
		path := filepath.Join(etc, name)
		text, _ := os.ReadFile(path)
		info, err := os.Stat(path)
		if err != nil || string(text) != w.text || info.Mode().Perm() != w.mode {
			t.Errorf("%s holds %q with mode %v (%v)", name, text, info.Mode().Perm(), err)
		}
	}
	if _, err := os.Stat(filepath.Join(etc, "gshadow")); err == nil {
		t.Error("gshadow was created in an image without it")
	}
}

func TestHome(t *testing.T) {
	skel := map[string]string{"etc/skel/.bashrc": "rc", "etc/skel/.config/x": "y", "home/": ""}
	me := account.User{Name: "alice", UID: os.Getuid(), GID: os.Getgid(), Home: "/home/alice"}
	t.Run("a new home is filled from skel", func(t *testing.T) {
		root := tree(t, skel)
		if err := os.Symlink(".bashrc", filepath.Join(root, "etc/skel/link")); err != nil {
			t.Fatal(err)
		}
		if err := ensureHome(root, me); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{".bashrc": "rc", ".config/x": "y", "link": "rc"} {
			if got, err := os.ReadFile(filepath.Join(root, "home/alice", name)); string(got) != want {
				t.Errorf("%s holds %q (%v), want %q", name, got, err, want)
			}
		}
	})
	t.Run("a home with files stays as it is", func(t *testing.T) {
		root := tree(t, map[string]string{"etc/skel/.bashrc": "rc", "home/alice/.bashrc": "mine"})
		if err := ensureHome(root, me); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(filepath.Join(root, "home/alice/.bashrc")); string(got) != "mine" {
			t.Errorf(".bashrc holds %q", got)
		}
	})
	t.Run("an unused mount point becomes a home", func(t *testing.T) {
		if os.Getuid() != 0 {
			t.Skip("needs root, which owns a mount point; CI also runs the tests as root")
		}
		root := tree(t, map[string]string{"etc/skel/.bashrc": "rc", "home/alice/": ""})
		bob := account.User{Name: "alice", UID: 1000, GID: 1000, Home: "/home/alice"}
		if err := ensureHome(root, bob); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"", ".bashrc"} {
			info, err := os.Stat(filepath.Join(root, "home/alice", name))
			if err != nil || info.Sys().(*syscall.Stat_t).Uid != 1000 {
				t.Errorf("%q: %v, not the user's", name, err)
			}
		}
	})
	t.Run("a mounted home stays as it is", func(t *testing.T) {
		if os.Getuid() != 0 {
			t.Skip("needs root to mount; CI also runs the tests as root")
		}
		for name, mountAt := range map[string]string{"the home itself": "home/alice", "a parent": "home"} {
			root := tree(t, map[string]string{"etc/skel/.bashrc": "rc", mountAt + "/": ""})
			at := filepath.Join(root, mountAt)
			if err := syscall.Mount("tmpfs", at, "tmpfs", 0, ""); err != nil {
				t.Skipf("cannot mount on this host, but CI can: %v", err)
			}
			err := ensureHome(root, account.User{Name: "alice", UID: 1000, GID: 1000, Home: "/home/alice"})
			entries, _ := os.ReadDir(at)
			if e := syscall.Unmount(at, 0); e != nil {
				t.Fatal(e)
			}
			if err != nil || len(entries) != 0 {
				t.Errorf("%s: %v, and the mount now has %v", name, err, entries)
			}
		}
	})
}

func TestDevicesAreFoundByName(t *testing.T) {
	sys := tree(t, map[string]string{
		"block/vda/serial": "other", "block/vdb/serial": "stead-root\n", "block/loop0/": "",
		"class/virtio-ports/vport1p1/name": "x\n", "class/virtio-ports/vport2p1/name": "stead.agent\n",
	})
	if got, ok := findDisk(sys, guest.RootSerial); got != "/dev/vdb" || !ok {
		t.Errorf("disk = %q, %v", got, ok)
	}
	if got, ok := findPort(sys, guest.AgentPortName); got != "/dev/vport2p1" || !ok {
		t.Errorf("port = %q, %v", got, ok)
	}
	if got, ok := findDisk(sys, "none"); ok {
		t.Errorf("found a missing disk at %q", got)
	}
}

func TestModuleDependencies(t *testing.T) {
	deps := "kernel/arch/x86/kvm/kvm-amd.ko: kernel/a/ccp.ko kernel/b/kvm.ko kernel/c/irqbypass.ko\nkernel/x/other_one.ko.xz:\n"
	tests := map[string][]string{
		"kvm-amd":   {"kernel/c/irqbypass.ko", "kernel/b/kvm.ko", "kernel/a/ccp.ko", "kernel/arch/x86/kvm/kvm-amd.ko"},
		"other-one": {"kernel/x/other_one.ko.xz"},
		"missing":   nil,
	}
	for name, want := range tests {
		if got := moduleWithDependencies(deps, name); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if got := kvmModule("flags\t\t: fpu vmx sse\n"); got != "kvm-intel" {
		t.Errorf("module for vmx = %q", got)
	}
}

func TestMissingKVMNamesPossibleReasons(t *testing.T) {
	err := openToAll(filepath.Join(t.TempDir(), "kvm"))
	for _, want := range []string{"CONFIG_KVM", "the host's processor"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to name %s", err, want)
		}
	}
}

func TestExt4SizeIsReadFromTheSuperblock(t *testing.T) {
	disk := make([]byte, 2048)
	le := binary.LittleEndian
	le.PutUint16(disk[1024+0x38:], 0xEF53)
	le.PutUint32(disk[1024+0x18:], 2)
	le.PutUint32(disk[1024+4:], 5)
	le.PutUint32(disk[1024+0x150:], 1)
	blocks, size, err := ext4Size(strings.NewReader(string(disk)))
	if blocks != 1<<32+5 || size != 4096 || err != nil {
		t.Errorf("ext4Size = %d, %d, %v", blocks, size, err)
	}
	if _, _, err := ext4Size(strings.NewReader(strings.Repeat("x", 2048))); err == nil {
		t.Error("an invalid superblock was accepted")
	}
}

func TestUnitsThatCannotWorkAreMasked(t *testing.T) {
	tests := map[string]struct {
		files map[string]string
		want  []string
	}{
		"an image with kmod":    {map[string]string{"usr/bin/kmod*": ""}, []string{"console-getty.service"}},
		"an image without kmod": {map[string]string{"bin/sh*": ""}, []string{"console-getty.service", "kmod-static-nodes.service"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			root := tree(t, tt.files)
			for range 2 {
				if err := maskUnits(root); err != nil {
					t.Fatal(err)
				}
			}
			links, _ := filepath.Glob(filepath.Join(root, "run/systemd/system/*"))
			var got []string
			for _, l := range links {
				if target, _ := os.Readlink(l); target == "/dev/null" {
					got = append(got, filepath.Base(l))
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("masked %v, want %v", got, tt.want)
			}
		})
	}
}

func TestOtherProcessesRun(t *testing.T) {
	tests := map[string]struct {
		files map[string]string
		want  bool
	}{
		"process 1, itself, kernel threads and names with @ do not count": {
			map[string]string{"1/cmdline": "init", "2/cmdline": "", "7/cmdline": "me", "9/cmdline": "@daemon", "self/cmdline": "x"}, false,
		},
		"a program counts": {map[string]string{"1/cmdline": "init", "30/cmdline": "postgres\x00-D"}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := othersRun(tree(t, tt.files), 7); got != tt.want {
				t.Errorf("othersRun = %v", got)
			}
		})
	}
}

func TestReplaceFile(t *testing.T) {
	dir := tree(t, map[string]string{"target": "elsewhere", "old": "a"})
	link := filepath.Join(dir, "link")
	if err := os.Symlink("target", link); err != nil {
		t.Fatal(err)
	}
	if err := replaceFile(link, "text", 0o640); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(link)
	if err != nil || info.Mode() != 0o640 {
		t.Errorf("a link became %v, %v; want a regular file", info.Mode(), err)
	}
	if got, _ := os.ReadFile(filepath.Join(dir, "target")); string(got) != "elsewhere" {
		t.Errorf("the link's target was written: %q", got)
	}
	if err := replaceFile(filepath.Join(dir, "new/deep"), "x", 0o644); err != nil {
		t.Error(err)
	}
}

func FuzzParseBoot(f *testing.F) {
	f.Add([]byte(`{"hostname":"dev","user":{"name":"alice","uid":1000,"gid":1000},"mounts":[{"tag":"home","target":"/home/alice"}]}`))
	f.Add([]byte(`{"mounts":[{"target":"../x"}]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		conf, err := parseBoot(text)
		if err != nil {
			return
		}
		for _, m := range conf.Mounts {
			if !filepath.IsAbs(m.Target) {
				t.Errorf("accepted the target %q", m.Target)
			}
		}
	})
}
