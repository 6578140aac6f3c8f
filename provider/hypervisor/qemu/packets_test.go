//go:build linux

package qemu

import (
	"bytes"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stead-vm/stead/provider/hypervisor"
)

// TestCardOnAPacketPairReceivesAndAnswers asks the guest for the hardware address of its
// IP by ARP (RFC 826), frame by frame.
func TestCardOnAPacketPairReceivesAndAnswers(t *testing.T) {
	l := newLab(t)
	machine, wire, err := hypervisor.PacketPair()
	if err != nil {
		t.Fatal(err)
	}
	defer wire.Close()
	l.config.Network.Packets = machine
	m := l.boot(t, l.config)
	m.post("/address?cidr=192.0.2.2/24")

	ours := net.HardwareAddr{0x52, 0x54, 0, 0xaa, 0xbb, 0xcc}
	question := bytes.Join([][]byte{
		{0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		ours,
		{0x08, 0x06},                // Ethernet: broadcast, our address, ARP
		{0, 1, 0x08, 0, 6, 4, 0, 1}, // Ethernet and IPv4, a request
		ours,
		{192, 0, 2, 1},
		make([]byte, 6),
		{192, 0, 2, 2},
		make([]byte, 18), // padding to Ethernet's shortest frame
	}, nil)
	frame := make([]byte, 1600)
	for answered := false; !answered; {
		if _, err := wire.Write(question); err != nil {
			t.Fatal(err)
		}
		if err := wire.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := wire.Read(frame)
		if errors.Is(err, os.ErrDeadlineExceeded) && m.ctx.Err() == nil {
			continue // a card that is coming up loses frames
		}
		if err != nil {
			t.Fatalf("no answer: %v", err)
		}
		// Skip frames that are not a reply to us.
		answered = n >= 42 && bytes.Equal(frame[:6], ours) && bytes.Equal(frame[12:14], []byte{0x08, 0x06}) && frame[21] == 2
	}
	if got := net.HardwareAddr(frame[22:28]); got.String() != l.config.Network.MAC.String() {
		t.Errorf("the guest says it is %s, want %s", got, l.config.Network.MAC)
	}
	if _, err := machine.Write(nil); err == nil {
		t.Error("the driver left the machine's end of the wire open")
	}
}
