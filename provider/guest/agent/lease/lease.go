//go:build linux

// Package lease gets the machine's address from a DHCP server and renews the lease.
//
// Some hypervisors assign addresses only by DHCP. An image need not have a DHCP client, and
// a client in the image runs too late: names and services need the address when the init
// starts. So the agent has a client of its own.
//
// [Parse] and [Lease.Pause], which interpret a lease, are pure. [Client] wraps a library that
// sends and receives the messages. [Keeper] renews the lease for as long as the machine runs.
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

// Forever is the time until something that never has to be done.
const Forever time.Duration = math.MaxInt64

// Lease is a lease that a server has granted. The zero Lease means that there is none.
// Times count from the grant.
type Lease struct {
	Address netip.Prefix  `json:"address"`
	Gateway netip.Addr    `json:"gateway"` // the zero Addr: none
	DNS     []netip.Addr  `json:"dns,omitempty"`
	MTU     int           `json:"mtu,omitempty"` // bytes; 0: the card's own
	Server  netip.Addr    `json:"server"`        // the server that granted it
	Renew   time.Duration `json:"renew"`         // T1 of RFC 2131: ask that server again
	Rebind  time.Duration `json:"rebind"`        // T2 of RFC 2131: ask any server
	Expire  time.Duration `json:"expire"`
}

// SameSettings reports whether both leases give the machine the same settings.
func (l Lease) SameSettings(other Lease) bool {
	return l.Address == other.Address && l.Gateway == other.Gateway && l.MTU == other.MTU && slices.Equal(l.DNS, other.DNS)
}

const (
	minMTU = 68 // RFC 2132, section 5.1
	// infinite is the lease time that means no end (RFC 2131, section 3.3).
	infinite = math.MaxUint32 * time.Second
	// defaultExpire is used if the server sends no lease time.
	defaultExpire = time.Hour
	// minExpire limits how often a server that grants very short leases is asked.
	minExpire = 10 * time.Second
)

// Parse reads a server's acknowledgement. It requires a valid address. Resolvers, MTU and
// gateway may be missing or invalid.
func Parse(ack *dhcpv4.DHCPv4) (Lease, error) {
	address, ok := ipv4(ack.YourIPAddr)
	if !ok {
		return Lease{}, fmt.Errorf("a DHCP server granted %v, which is not a valid address of a machine", ack.YourIPAddr)
	}
	mask := ack.SubnetMask()
	if mask == nil {
		mask = net.IP(address.AsSlice()).DefaultMask()
	}
	bits, size := mask.Size()
	if size != 32 || bits == 0 {
		return Lease{}, fmt.Errorf("a DHCP server granted %v with the invalid subnet mask %v", address, mask)
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

// ipv4 returns ip if it is an IPv4 address that a machine can have.
func ipv4(ip net.IP) (netip.Addr, bool) {
	a, ok := netip.AddrFromSlice(ip.To4())
	if !ok || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return netip.Addr{}, false
	}
	return a, true
}

// times returns T1, T2 and the end of a lease. If the server sends no T1 and T2, or they are
// out of order, the defaults of RFC 2131, section 4.4.5, apply.
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

// minPause is the minimum pause between two attempts to renew a lease (RFC 2131, section
// 4.4.5).
const minPause = time.Minute

// Pause returns how long to wait before the next request, for a lease of this age: until T1,
// then half the time that is left until T2 or the end, but never beyond the end.
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
