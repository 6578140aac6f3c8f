//go:build linux

package agent

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDevicesOfAnotherComputerDoNotHoldUpTheBoot(t *testing.T) {
	const fstab = `# <file system> <mount point>
UUID=0000-0000 /boot/efi vfat defaults 0 1
LABEL=data	/data	ext4	defaults	0 2
/dev/mapper/swap none swap sw 0 0
LABEL=short /short ext4
#UUID=2222-2222 /off ext4 defaults 0 0
/dev/vda / ext4 defaults 0 1
tmpfs /tmp tmpfs size=1G 0 0
/var/disk.img /mnt ext4 loop 0 0
server:/home /srv nfs defaults 0 0
UUID=1111-1111 /backup ext4 noatime,nofail 0 0
/dev/sdb1 /iscsi ext4 _netdev 0 0
/dev/nbd0 /nbd ext4 x-systemd.requires=nbd.service 0 0
/dev/loop7 /loop ext4 defaults 0 0
`
	root := t.TempDir()
	if err := firstError(os.MkdirAll(root+"/etc", 0o755), os.MkdirAll(root+"/dev", 0o755), os.WriteFile(root+"/dev/vda", nil, 0o644),
		os.WriteFile(root+"/etc/fstab", []byte(fstab), 0o644)); err != nil {
		t.Fatal(err)
	}
	without, err := prepareFstab(root)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"UUID=0000-0000 /boot/efi vfat defaults 0 1", "LABEL=data\t/data\text4\tdefaults\t0 2", "/dev/mapper/swap none swap sw 0 0", "LABEL=short /short ext4"}
	if d := cmp.Diff(want, without); d != "" {
		t.Errorf("lines that do not count (-want +got):\n%s", d)
	}
	kept, err := os.ReadFile(root + fstabPath)
	const wantKept = `# <file system> <mount point>
#UUID=2222-2222 /off ext4 defaults 0 0
/dev/vda / ext4 defaults 0 1
tmpfs /tmp tmpfs size=1G 0 0
/var/disk.img /mnt ext4 loop 0 0
server:/home /srv nfs defaults 0 0
UUID=1111-1111 /backup ext4 noatime,nofail 0 0
/dev/sdb1 /iscsi ext4 _netdev 0 0
/dev/nbd0 /nbd ext4 x-systemd.requires=nbd.service 0 0
/dev/loop7 /loop ext4 defaults 0 0
`
	if d := cmp.Diff(wantKept, string(kept)); d != "" || err != nil {
		t.Errorf("lines that count (-want +got):\n%s%v", d, err)
	}
	if err := os.WriteFile(root+"/etc/fstab", []byte(wantKept), 0o644); err != nil {
		t.Fatal(err)
	}
	if without, err := prepareFstab(root); err != nil || without != nil {
		t.Errorf("a file without such lines: %q, %v", without, err)
	}
}
