package local

import (
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stead-vm/stead/provider/machine"
)

func TestOnlyAMissingProjectFileIsGone(t *testing.T) {
	dir := t.TempDir()
	there := filepath.Join(dir, "machines.hcl")
	if err := os.WriteFile(there, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		file string
		gone bool
	}{
		"a file that exists":                  {there, false},
		"a file that does not":                {filepath.Join(dir, "moved", "machines.hcl"), true},
		"a file that cannot be asked for":     {filepath.Join(there, "machines.hcl"), false},
		"that of a machine without a project": {"", false},
	}
	for name, tt := range tests {
		var e existence
		if got := e.gone(t.Context(), machine.Owner{File: tt.file}); got != tt.gone {
			t.Errorf("%s: gone = %v", name, got)
		}
	}
}

func TestProjectFileOnADeadFileSystemIsNotGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		alive := make(chan struct{})
		e := existence{stat: func(path string) (os.FileInfo, error) {
			if path == "/dead/machines.hcl" {
				asked.Add(1)
				<-alive
			}
			return nil, os.ErrNotExist
		}}
		dead := machine.Owner{File: "/dead/machines.hcl"}
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if e.gone(t.Context(), dead) {
					t.Error("a file is gone although its file system did not answer")
				}
			})
		}
		all.Wait()
		if e.gone(t.Context(), dead) {
			t.Error("the file is gone at the next look")
		}
		if !e.gone(t.Context(), machine.Owner{File: "/moved/machines.hcl"}) {
			t.Error("a missing file of another file system exists")
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("asked %d times, want one question that waits", n)
		}
		close(alive)
		synctest.Wait()
		if !e.gone(t.Context(), dead) {
			t.Error("the file exists after its file system said that it does not")
		}
	})
}

func TestMachinesAreListedDespiteADeadFileSystem(t *testing.T) {
	p := newProvider(t)
	s := tiny(t, "1")
	s.Owner = machine.Owner{Project: "app", File: "/dead/machines.hcl"}
	if err := p.Create(t.Context(), s, nil); err != nil {
		t.Fatal(err)
	}
	alive := make(chan struct{})
	defer close(alive)
	p.Machines.files.stat = func(string) (os.FileInfo, error) {
		<-alive
		return nil, os.ErrNotExist
	}
	machines, err := p.Machines.List(t.Context())
	if err != nil || len(machines) != 1 || machines[0].OwnerGone || machines[0].State != machine.Stopped {
		t.Errorf("List = %+v, %v", machines, err)
	}
}
