package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// secondMachine measures the creation of another machine from the same image: the whole command,
// without a boot.
func (b *bench) secondMachine() {
	b.createTwo(b.state, func(c cost, _ float64) { b.table.add(rowCopied, byStead, c.wall) })
	dir, err := b.cloningDir()
	if err != nil {
		b.note("no file system that can clone: %v", err)
		return
	}
	b.createTwo(filepath.Join(dir, "state"), func(c cost, space float64) {
		b.table.add(rowSecond, byStead, c.wall)
		b.table.add(rowSpace, byStead, space/1024)
	})
}

// createTwo creates machines in a state directory and reports on all but the first.
func (b *bench) createTwo(state string, tell func(c cost, space float64)) {
	create := func(name string) cost {
		_, c, err := b.tryTimed("env", "STEAD_HOME="+state, b.exe, "machine", "create", "--no-boot", "--name", name,
			"--disk", fmt.Sprintf("%dM", benchDisk>>20), b.reference())
		b.must(err)
		return c
	}
	create("first")
	for i := range benchRounds {
		before := b.occupied(state)
		c := create(fmt.Sprint("next-", i))
		tell(c, b.occupied(state)-before)
	}
}

// occupied returns how many bytes of a file system are in use.
func (b *bench) occupied(dir string) float64 {
	b.run("sync")
	var st syscall.Statfs_t
	b.must(syscall.Statfs(dir, &st))
	return float64(st.Blocks-st.Bfree) * float64(st.Bsize)
}

// cloningDir returns the bench's directory if its file system can clone files, else one on a
// small XFS.
func (b *bench) cloningDir() (string, error) {
	b.must(os.WriteFile(b.path("original"), []byte("x"), 0o600))
	if _, err := b.try("cp", "--reflink=always", b.path("original"), b.path("clone")); err == nil {
		return b.path("."), nil
	}
	if _, err := exec.LookPath("mkfs.xfs"); err != nil {
		return "", errors.New("apt-get install xfsprogs")
	}
	if os.Getuid() != 0 {
		return "", errors.New("only root may mount one for this")
	}
	file, dir := b.path("xfs"), b.path("mnt")
	b.must(os.WriteFile(file, nil, 0o600))
	b.must(os.Truncate(file, 4<<30))
	b.must(os.Mkdir(dir, 0o700))
	b.run("mkfs.xfs", "-q", "-m", "reflink=1", file)
	if _, err := b.try("mount", "-o", "loop", file, dir); err != nil {
		return "", err
	}
	b.t.Cleanup(func() { b.run("umount", dir) })
	return dir, nil
}
