package image

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// childEnv turns the test binary into a process that pulls an image and creates its disk.
// Its value is "FOLDER REFERENCE MOMENT". At the moment "half" or "whole" of the disk the
// process prints that word and waits to be killed.
const childEnv = "STEAD_TEST_CHILD"

// madeFile, beside the store, gets a line for each disk that a child starts to create.
const madeFile = "made"

func TestMain(m *testing.M) {
	if args := strings.Fields(os.Getenv(childEnv)); len(args) > 1 {
		if err := beChild(args[0], args[1], append(args, "")[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func beChild(dir, ref, moment string) error {
	s, err := New(Options{Dir: dir, MakeDisk: func(ctx context.Context, f *os.File, layers []Layer, size int64, digest string) error {
		made, err := os.OpenFile(filepath.Join(filepath.Dir(dir), madeFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		defer made.Close()
		if _, err := fmt.Fprintln(made, digest); err != nil {
			return err
		}
		if moment == "half" {
			layers = layers[:1]
		}
		err = concatenate(ctx, f, layers, size, digest)
		if moment != "" && err == nil {
			fmt.Println(moment)
			select {}
		}
		return err
	}})
	if err != nil {
		return err
	}
	img, err := s.Pull(context.Background(), ref, amd64, nil)
	if err == nil {
		_, err = s.Disk(context.Background(), img, 1<<20, nil)
	}
	return err
}

// child starts such a process.
func child(t *testing.T, dir, ref, moment string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+strings.Join([]string{dir, ref, moment}, " "))
	cmd.Stderr = os.Stderr
	t.Cleanup(func() {
		if cmd.Process != nil && cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	return cmd
}

// await waits until a condition is true.
func await(t *testing.T, happened func() bool) {
	for end := time.Now().Add(time.Minute); !happened(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Error("it did not happen within a minute")
			return
		}
	}
}

// killed starts a process and kills it at a moment of its conversion.
func killed(t *testing.T, dir, ref, moment string) {
	t.Helper()
	cmd := child(t, dir, ref, moment)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if word, err := bufio.NewReader(out).ReadString('\n'); err != nil || word != moment+"\n" {
		t.Fatalf("the other process says %q, %v", word, err)
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "tmp")); len(left) != 1 {
		t.Errorf("%d files while converting, want one", len(left))
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
}

func TestAKilledConversionLeavesNothing(t *testing.T) {
	r := newRegistry(t)
	ref := r.push(t, "sample:1", sample(t, "x"))
	dir := filepath.Join(t.TempDir(), "store")
	for _, moment := range []string{"half", "whole"} {
		killed(t, dir, ref, moment)
		wantEmpty(t, dir, "disks")
	}
	s := newStore(t, dir)
	img, err := s.Resolve(t.Context(), ref, amd64, false)
	if err != nil {
		t.Fatal(err)
	}
	wantDisk(t, s, img, content(t, sample(t, "x")))
	wantNothingHalf(t, dir)
}

func TestProcessesShareOnePullAndOneConversion(t *testing.T) {
	const processes = 3
	r, ref, img, layer, size := bigBlob(t)
	dir := filepath.Join(t.TempDir(), "store")
	// Serve no blob before all processes have asked for it.
	r.misbehave(func(_ http.ResponseWriter, q *http.Request) bool {
		if strings.Contains(q.URL.Path, "/blobs/") {
			await(t, func() bool { return r.asked("GET", "/manifests/1") == processes })
		}
		return false
	})
	var children []*exec.Cmd
	for range processes {
		c := child(t, dir, ref, "")
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		children = append(children, c)
	}
	for _, c := range children {
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
	}
	if n := r.bytesServed(layer); n != size {
		t.Errorf("%d bytes of the layer were fetched, want its %d", n, size)
	}
	if made, err := os.ReadFile(filepath.Join(filepath.Dir(dir), madeFile)); err != nil || strings.Count(string(made), "\n") != 1 {
		t.Errorf("the disk was created for %q, %v; want once", made, err)
	}
	got, err := newStore(t, dir).Resolve(t.Context(), ref, amd64, false)
	if err != nil {
		t.Fatal(err)
	}
	wantDisk(t, newStore(t, dir), got, content(t, img))
	wantNothingHalf(t, dir)
	wantEmpty(t, dir, "partial")
}

func TestAKilledPullResumesInTheBlob(t *testing.T) {
	_, _, _, _, size := bigBlob(t)
	for _, n := range []int64{0, 1, size / 2, size - 1} {
		t.Run(fmt.Sprintf("after %d bytes", n), func(t *testing.T) {
			r, ref, img, layer, _ := bigBlob(t)
			dir := filepath.Join(t.TempDir(), "store")
			cmd := child(t, dir, ref, "")
			started := make(chan struct{})
			r.cutAfter(layer, n, func() {
				<-started
				await(t, func() bool {
					info, err := os.Stat(partOf(dir, layer))
					return err == nil && info.Size() == n
				})
				_ = cmd.Process.Kill()
			})
			err := cmd.Start()
			close(started)
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err == nil {
				t.Fatal("the process was not killed")
			}
			s := newStore(t, dir)
			if list, err := s.List(t.Context()); err != nil || len(list) != 0 {
				t.Errorf("an incomplete image is listed: %v, %v", list, err)
			}
			wantNothingHalf(t, dir)
			r.cutAfter(layer, -1, nil)
			if err := child(t, dir, ref, "").Run(); err != nil {
				t.Fatal(err)
			}
			if got := r.bytesServed(layer); got != size {
				t.Errorf("both fetched %d bytes, want %d", got, size)
			}
			got, err := s.Resolve(t.Context(), ref, amd64, false)
			if err != nil {
				t.Fatal(err)
			}
			wantDisk(t, s, got, content(t, img))
			wantEmpty(t, dir, "partial")
		})
	}
}

func TestAProcessMayBeKilledAtAnyMoment(t *testing.T) {
	const rounds = 12
	_, ref, img, _, _ := bigBlob(t)
	dir := filepath.Join(t.TempDir(), "store")
	for i := range rounds {
		cmd := child(t, dir, ref, "")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i) * 4 * time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed, or was faster
		if _, err := os.Stat(dir); err != nil {
			continue // it had not begun
		}
		s := newStore(t, dir)
		list, err := s.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		wantNothingHalf(t, dir)
		for _, e := range list {
			if e.Problem != "" {
				t.Errorf("after round %d the store lists %+v", i, e)
			}
			for _, f := range blobsOfImage(t, dir, img) {
				wantThere(t, map[string]bool{f: true})
			}
		}
		if disks, _ := listFiles(s.disksDir()); len(disks) > 0 {
			wantDisk(t, s, list[0].Image, content(t, img))
		}
	}
	if err := child(t, dir, ref, "").Run(); err != nil {
		t.Fatal(err)
	}
	s := newStore(t, dir)
	got, err := s.Resolve(t.Context(), ref, amd64, false)
	if err != nil {
		t.Fatal(err)
	}
	wantDisk(t, s, got, content(t, img))
}
