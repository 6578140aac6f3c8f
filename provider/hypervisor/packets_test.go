package hypervisor

import (
	"bytes"
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestPacketPairKeepsFramesApart(t *testing.T) {
	machine, wire, err := PacketPair()
	if err != nil {
		t.Fatal(err)
	}
	defer machine.Close()
	defer wire.Close()
	for _, size := range []int{14, 1514, 9014, 1} {
		sent := bytes.Repeat([]byte{byte(size)}, size)
		if _, err := wire.Write(sent); err != nil {
			t.Fatal(err)
		}
		if _, err := machine.Write(sent); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 1<<16)
	for _, size := range []int{14, 1514, 9014, 1} {
		for name, end := range map[string]interface{ Read([]byte) (int, error) }{"machine": machine, "wire": wire} {
			if n, err := end.Read(buf); err != nil || n != size || buf[0] != byte(size) {
				t.Errorf("the %s read %d bytes, %v, want %d", name, n, err, size)
			}
		}
	}
}

func TestWriteEndsAtItsDeadline(t *testing.T) {
	machine, wire, err := PacketPair()
	if err != nil {
		t.Fatal(err)
	}
	defer machine.Close()
	defer wire.Close()
	if err := wire.SetWriteDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for err == nil { // a paused machine reads nothing
		_, err = wire.Write(make([]byte, 1514))
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("writing ended with %v", err)
	}
}

func TestFrameIsRetriedWhenBuffersAreFull(t *testing.T) {
	tries := 0
	n, err := retryFull(func(frame []byte) (int, error) {
		if tries++; tries < 3 {
			return 0, &os.SyscallError{Syscall: "write", Err: unix.ENOBUFS}
		}
		return len(frame), nil
	}, make([]byte, 60))
	if n != 60 || err != nil || tries != 3 {
		t.Errorf("%d bytes, %v after %d tries", n, err, tries)
	}
	gone := &os.SyscallError{Syscall: "write", Err: unix.ECONNREFUSED}
	if _, err := retryFull(func([]byte) (int, error) { return 0, gone }, nil); !errors.Is(err, gone) {
		t.Errorf("another failure became %v", err)
	}
}
