package ext4

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// shutdown is EXT4_IOC_SHUTDOWN of the kernel's fs/ext4/ext4.h. With this argument
// nothing more reaches the disk, not even the part of the journal that is in memory,
// as in a power cut.
const (
	shutdown       = 0x8004587d
	withoutFlushes = 2
)

// TestSyncedFilesSurviveCrashes repeatedly writes to the same disk, crashes and
// recovers. Files synced before a crash exist after it, and e2fsck finds no errors once
// the journal is replayed.
func TestSyncedFilesSurviveCrashes(t *testing.T) {
	t.Parallel()
	disk := makeDisk(t, 256*mib, awkward()...)
	var records []string
	replayed := 0
	for round := range 12 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			root := mount(t, disk, "rw")
			for i, want := range records {
				if got, err := os.ReadFile(recordFile(root, i)); err != nil || string(got) != want {
					t.Errorf("record %d of %d is damaged: %d bytes, %v", i, len(records), len(got), err)
				}
			}
			records = writeUntilCrash(t, root, records)
		})
		if replay(t, disk) {
			replayed++
		}
		fsck(t, disk)
	}
	if len(records) < 12 || replayed < 6 {
		t.Errorf("%d records were synced in 12 rounds, and %d journals replayed: too few for a conclusion", len(records), replayed)
	}
}

func recordFile(root string, i int) string { return fmt.Sprintf("%s/many/record-%d", root, i) }

// writeUntilCrash returns all records that were synced.
func writeUntilCrash(t *testing.T, root string, records []string) []string {
	t.Helper()
	crashed := make(chan error, 1)
	begin, last := len(records), 3+rand.IntN(40)
	for i := 0; ; i++ {
		if i == last {
			go func() { crashed <- crash(root) }()
		}
		record := strings.Repeat(fmt.Sprintf("record %d ", begin+i), 1+rand.IntN(5000))
		if err := writeSynced(recordFile(root, len(records)), record); err != nil {
			break
		}
		records = append(records, record)
		disturb(root, i)
	}
	if err := <-crashed; err != nil {
		t.Fatalf("EXT4_IOC_SHUTDOWN: %v", err)
	}
	return records
}

// crash shuts the mounted file system down. It leaves no file open, so that the file system
// can be unmounted.
func crash(root string) error {
	f, err := os.Open(root)
	if err != nil {
		return err
	}
	defer f.Close()
	how := uint32(withoutFlushes)
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, f.Fd(), shutdown, uintptr(unsafe.Pointer(&how))); e != 0 {
		return e
	}
	return nil
}

// writeSynced writes a file under a temporary name, syncs and renames it, as careful
// programs do.
func writeSynced(name, content string) error {
	f, err := os.Create(name + ".new")
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(name+".new", name); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// disturb changes other files without a sync until the crash makes it fail.
func disturb(root string, i int) {
	_ = os.Remove(fmt.Sprintf("%s/many/file-%d-\xc3\xa4", root, rand.IntN(12000)))
	_ = os.WriteFile(fmt.Sprintf("%s/unsynced-%d", root, i%7), make([]byte, rand.IntN(200_000)), 0o600)
	_ = os.Truncate(root+"/shreds1400", rand.Int64N(100*mib))
	_ = unix.Setxattr(root+"/attrs", "user.large", make([]byte, rand.IntN(3000)), 0)
}

// replay lets e2fsck replay the journal, as the next mount would.
func replay(t *testing.T, disk string) (replayed bool) {
	t.Helper()
	var exit *exec.ExitError
	out, err := exec.Command(tool(t, "e2fsck"), "-fp", disk).CombinedOutput()
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() > 1) { // 1: replayed
		t.Fatalf("e2fsck -fp: %v\n%s", err, out)
	}
	return bytes.Contains(out, []byte("recovering journal"))
}
