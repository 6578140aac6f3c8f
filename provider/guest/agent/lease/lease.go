//go:build linux

// Package lease asks a DHCP server for the machine's address and keeps it.
//
// Some hypervisors offer a network that tells each machine its address, and nobody
// else beforehand. An image need not have a DHCP client, and one that is there comes too
// late: names and services want the address when the init starts. So the agent asks.
//
// What a lease means and when it is asked for again ([Parse], [Lease.Pause]) is pure. The
// messages and their transport are a library's; [Client] is the thin part that uses it,
// and [Keeper] the one that lives as long as the machine.
package lease

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Forever is the time of what never has to be done.
const Forever time.Duration = math.MaxInt64

// Lease is what a server has granted. The zero Lease is none. Times are counted from
// when it was granted.
type Lease struct {
	Address netip.Prefix  `json:"address"`
	Gateway netip.Addr    `json:"gateway"` // the zero Addr: none
	DNS     []netip.Addr  `json:"dns,omitempty"`
	MTU     int           `json:"mtu,omitempty"` // bytes; 0: the card's own
	Server  netip.Addr    `json:"server"`        // who granted it
	Renew   time.Duration `json:"renew"`         // T1 of RFC 2131: ask that server again
	Rebind  time.Duration `json:"rebind"`        // T2 of RFC 2131: ask whichever there is
	Expire  time.Duration `json:"expire"`
}

// SameSettings tells whether a machine with the one lease has nothing to change for the
// other.
func (l Lease) SameSettings(other Lease) bool {
	return l.Address == other.Address && l.Gateway == other.Gateway && l.MTU == other.MTU && slices.Equal(l.DNS, other.DNS)
}

const (
	minMTU = 68 // RFC 2132, section 5.1
	// infinite is the lease time that means no end (RFC 2131, section 3.3).
	infinite = math.MaxUint32 * time.Second
	// defaultExpire is for a server that forgets to say how long.
	defaultExpire = time.Hour
	// minExpire keeps a server that grants seconds from being asked all the time.
	minExpire = 10 * time.Second
)

// Parse reads a server's acknowledgement. What only improves a machine (names, MTU, a
// way out) may be missing or nonsense; its address may not.
func Parse(ack *dhcpv4.DHCPv4) (Lease, error) {
	address, ok := ipv4(ack.YourIPAddr)
	if !ok {
		return Lease{}, fmt.Errorf("a DHCP server granted %v, which is no address for a machine", ack.YourIPAddr)
	}
	mask := ack.SubnetMask()
	if mask == nil {
		mask = net.IP(address.AsSlice()).DefaultMask()
	}
	bits, size := mask.Size()
	if size != 32 || bits == 0 {
		return Lease{}, fmt.Errorf("a DHCP server granted %v with the subnet mask %v, which is none", address, mask)
	}
	l := Lease{Address: netip.PrefixFrom(address, bits)}
	l.Server, _ = ipv4(ack.ServerIdentifier())
	for _, ip := range ack.Router() {
		if l.Gateway, ok = ipv4(ip); ok {
			break
		}
	}
	for _, ip := range ack.DNS() {
		if a, ok := ipv4(ip); ok {
			l.DNS = append(l.DNS, a)
		}
	}
	if mtu, err := dhcpv4.GetUint16(dhcpv4.OptionInterfaceMTU, ack.Options); err == nil && mtu >= minMTU {
		l.MTU = int(mtu)
	}
	l.Renew, l.Rebind, l.Expire = times(ack)
	return l, nil
}

// ipv4 is an address that one machine can have.
func ipv4(ip net.IP) (netip.Addr, bool) {
	a, ok := netip.AddrFromSlice(ip.To4())
	if !ok || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return netip.Addr{}, false
	}
	return a, true
}

// times are T1, T2 and the end of a lease. Where the server says nothing about the
// former, or nothing that has an order, they are those of RFC 2131, section 4.4.5.
func times(ack *dhcpv4.DHCPv4) (renew, rebind, expire time.Duration) {
	expire = ack.IPAddressLeaseTime(defaultExpire)
	if expire == infinite {
		return Forever, Forever, Forever
	}
	expire = max(expire, minExpire)
	renew, rebind = ack.IPAddressRenewalTime(expire/2), ack.IPAddressRebindingTime(expire/8*7)
	if renew <= 0 || renew >= rebind || rebind >= expire {
		renew, rebind = expire/2, expire/8*7
	}
	return renew, rebind, expire
}

// minPause is between two attempts to renew a lease (RFC 2131, section 4.4.5).
const minPause = time.Minute

// Pause is how long to wait, at a lease's age, before it is asked for again: until T1,
// then for half the time that is left to T2 or to the end, and never beyond the end.
func (l Lease) Pause(age time.Duration) time.Duration {
	switch {
	case l.Expire == Forever:
		return Forever
	case age < l.Renew:
		return l.Renew - age
	case age < l.Rebind:
		return min(max((l.Rebind-age)/2, minPause), l.Expire-age)
	default:
		return min(max((l.Expire-age)/2, minPause), max(l.Expire-age, 0))
	}
}
