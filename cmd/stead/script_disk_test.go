package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func diskOf(ts *testscript.TestScript, id string) string {
	return filepath.Join(ts.Getenv("STEAD_HOME"), "machines", id, "rootfs.ext4")
}

// sparse (sparse FILE) makes a file of 1 TiB without data.
func sparse(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	ts.Check(errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 1<<40)))
}

// fsck (fsck NAME) replays the journal of a stopped machine's disk and fails unless the file
// system is clean then.
func fsck(ts *testscript.TestScript, _ bool, args []string) {
	disk := diskOf(ts, args[0])
	var exit *exec.ExitError
	if err := ts.Exec("e2fsck", "-fp", disk); errors.As(err, &exit) && exit.ExitCode() > 1 { // 1: replayed
		ts.Fatalf("e2fsck -fp: %v", err)
	}
	ts.Check(ts.Exec("e2fsck", "-fn", disk))
}

// diskSpace (disk-space NAME LEAST MOST) waits up to a minute until the machine's disk occupies
// between LEAST and MOST MiB on the host.
func diskSpace(ts *testscript.TestScript, _ bool, args []string) {
	least, err := strconv.Atoi(args[1])
	ts.Check(err)
	most, err := strconv.Atoi(args[2])
	ts.Check(err)
	for end := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		info, err := os.Stat(diskOf(ts, args[0]))
		ts.Check(err)
		now := int(info.Sys().(*syscall.Stat_t).Blocks >> 11)
		if now >= least && now <= most {
			ts.Logf("the disk takes %d MiB", now)
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("the disk takes %d MiB, want %d to %d", now, least, most)
		}
	}
}

// powerCuts (power-cuts NAME ROUNDS) runs a writer in the machine, which appends records and
// prints the number of each one after syncing it. Meanwhile it kills the hypervisor, the
// supervisor, or both. After each kill the file system must be clean, and every record whose
// number was printed must be complete. STEAD_TEST_POWER_CUTS overrides the number of rounds.
func powerCuts(ts *testscript.TestScript, _ bool, args []string) {
	rounds, err := strconv.Atoi(cmp.Or(os.Getenv("STEAD_TEST_POWER_CUTS"), args[1]))
	ts.Check(err)
	var said []int
	for round := range rounds {
		said = append(said, cutPower(ts, args[0], round))
		waitStopped(ts, false, args[:1])
		fsck(ts, false, args[:1])
		checkRecords(ts, args[0], said)
	}
	ts.Logf("records said before each cut: %v", said)
}

// recordWriter is the writer's script. Files that it creates and removes without a sync keep the
// journal busy. Each dd is one write and one fsync. The copy gets its name once it is synced, and
// the next record's fsync writes the name to the disk.
const recordWriter = `mkdir -p /records /churn && cd /records
(cd /churn; while :; do mkdir -p d; echo x >d/a; mv d/a b; rm -r d b; done) &
i=0
while :; do
	i=$((i + 1))
	{ printf 'record %%06d ' $i; head -c 3000 /dev/zero | tr '\0' r; echo ' end'; } >/run/record
	dd if=/run/record of=log%[1]d bs=8k oflag=append conv=notrunc,fsync 2>/dev/null || exit 1
	cp log%[1]d new && dd if=/dev/null of=new conv=notrunc,fsync 2>/dev/null && mv new copy%[1]d || exit 1
	echo $i
done`

// inside returns a command that runs in the machine as root.
func inside(ts *testscript.TestScript, id, script string) *exec.Cmd {
	cmd := exec.Command("stead", "run", "-n", id, "--root", script)
	cmd.Env = os.Environ()
	for _, name := range []string{"HOME", "STEAD_HOME", "STEAD_ACCEL"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	return cmd
}

// cutPower returns the last number that the writer printed.
func cutPower(ts *testscript.TestScript, id string, round int) (said int) {
	cmd := inside(ts, id, fmt.Sprintf(recordWriter, round))
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	lines := bufio.NewScanner(out)
	for last := 3 + rand.IntN(15); said < last && lines.Scan(); {
		said, err = strconv.Atoi(lines.Text())
		ts.Check(err)
	}
	if said == 0 {
		ts.Fatalf("the writer said nothing: %v", cmd.Wait())
	}
	_, st := status(ts, id)
	time.Sleep(rand.N(100 * time.Millisecond))
	victims := [][]int{{st.VMPID}, {st.PID}, {st.VMPID, st.PID}}
	for _, pid := range victims[round%len(victims)] {
		ts.Check(syscall.Kill(pid, syscall.SIGKILL))
	}
	for lines.Scan() {
		if n, err := strconv.Atoi(lines.Text()); err == nil {
			said = n
		}
	}
	_ = cmd.Wait() // it was interrupted
	return said
}

// checkRecords starts the machine and checks the records of all rounds.
func checkRecords(ts *testscript.TestScript, id string, said []int) {
	out, err := inside(ts, id, `cd /records && for f in log* copy*; do echo "file $f"; cat "$f"; done`).Output()
	ts.Check(err)
	whole, name := map[string]int{}, ""
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "file ") {
			name = strings.TrimSpace(strings.TrimPrefix(line, "file "))
			continue
		}
		if line == fmt.Sprintf("record %06d %s end\n", whole[name]+1, strings.Repeat("r", 3000)) {
			whole[name]++
		}
	}
	for round, n := range said {
		log, copied := whole[fmt.Sprintf("log%d", round)], whole[fmt.Sprintf("copy%d", round)]
		if log < n || copied < n-1 {
			ts.Fatalf("round %d said that %d records are synced; %d are whole, and %d in the copy", round, n, log, copied)
		}
	}
}
