//go:build linux

package hostfs

import (
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// frame encodes a request: length, opcode, unique, node, caller.
func frame(op uint32, node uint64, body ...byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(40+len(body)))
	b = binary.LittleEndian.AppendUint32(b, op)
	b = binary.LittleEndian.AppendUint64(b, 1)
	b = binary.LittleEndian.AppendUint64(b, node)
	return append(append(b, make([]byte, 16)...), body...)
}

// Whatever a guest sends, the server keeps running and files outside of the share do not
// change.
func FuzzRequests(f *testing.F) {
	log.SetOutput(io.Discard)
	f.Cleanup(func() { log.SetOutput(os.Stderr) })
	f.Add(frame(1, root, []byte("../secret\x00")...), frame(14, 2, make([]byte, 8)...))
	f.Add(frame(10, root, []byte("../secret\x00")...), frame(6, root, []byte("x\x00../x\x00")...))
	f.Add(frame(1, root, []byte("file\x00")...), frame(4, 2, make([]byte, 88)...))
	f.Add(frame(27, root, make([]byte, 8)...), frame(44, root, make([]byte, 40)...))
	f.Add(frame(35, root, append(make([]byte, 16), "new\x00"...)...), frame(39, 2, make([]byte, 32)...))
	f.Add(frame(2, root, []byte{255, 0, 0, 0, 0, 0, 0, 0}...), frame(42, 0, []byte{1, 0, 0, 0, 0, 0, 0, 0}...))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		fs, dir := mount(t, false)
		write(t, dir+"/file", "content")
		server := fuse.NewProtocolServer(fs, &fuse.MountOptions{
			Logger:       log.Default(),
			PanicHandler: func(any) fuse.Status { return fuse.EIO },
		})
		server.HandleRequest([][]byte{frame(26, 0, append([]byte{7, 0, 0, 0, 38, 0, 0, 0}, make([]byte, 8)...)...)}, [][]byte{make([]byte, 4096)})
		server.HandleRequest([][]byte{frame(1, root, []byte("file\x00")...)}, [][]byte{make([]byte, 4096)})
		for _, request := range [][]byte{first, second} {
			half := len(request) / 2
			n, _ := server.HandleRequest([][]byte{request[:half], request[half:]}, [][]byte{make([]byte, 16), make([]byte, 4080)})
			if n < 0 || n > 4096 {
				t.Fatalf("an answer of %d bytes in a buffer of 4096", n)
			}
		}
		outer := filepath.Dir(dir)
		entries, err := os.ReadDir(outer)
		if err != nil || len(entries) != 2 || read(t, outer+"/secret") != "secret" {
			t.Fatalf("the directory around the share changed: %v, %v", entries, err)
		}
	})
}

// A guest's kernel does not order operations inside a directory with a rename of that
// directory.
func TestDirectoryMayBeRenamedDuringOperationsInIt(t *testing.T) {
	fs, _ := mount(t, false)
	h := header(root)
	var made fuse.EntryOut
	ok(t, "MKDIR", fs.Mkdir(nil, &fuse.MkdirIn{InHeader: h, Mode: 0o755}, "a", &made))
	const rounds = 300
	done := make(chan error, 1)
	go func() {
		done <- func() error {
			for i := range rounds {
				names := [2]string{"a", "b"}
				in := fuse.RenameIn{InHeader: h, Newdir: root}
				if s := fs.Rename(nil, &in, names[i%2], names[1-i%2]); !s.Ok() {
					return fmt.Errorf("rename %d: %v", i, s)
				}
			}
			return nil
		}()
	}()
	for i := range rounds {
		name := fmt.Sprint(i)
		var out fuse.CreateOut
		in := fuse.CreateIn{InHeader: header(made.NodeId), Mode: 0o644}
		ok(t, "CREATE", fs.Create(nil, &in, name, &out))
		ok(t, "GETATTR", fs.GetAttr(nil, &fuse.GetAttrIn{InHeader: header(made.NodeId)}, new(fuse.AttrOut)))
		fs.Release(nil, &fuse.ReleaseIn{InHeader: header(out.NodeId), Fh: out.Fh})
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
