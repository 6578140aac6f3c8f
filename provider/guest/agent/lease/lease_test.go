//go:build linux

package lease

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/insomniacslk/dhcp/dhcpv4"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// ack returns an acknowledgement of 192.168.64.7 by 192.168.64.1.
func ack(options ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	m, err := dhcpv4.New(append([]dhcpv4.Modifier{
		dhcpv4.WithMessageType(dhcpv4.MessageTypeAck), dhcpv4.WithYourIP(net.IPv4(192, 168, 64, 7)),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(192, 168, 64, 1))),
		dhcpv4.WithNetmask(net.CIDRMask(24, 32)),
		dhcpv4.WithLeaseTime(3600),
	}, options...)...)
	if err != nil {
		panic(err) // no entropy
	}
	return m
}

func with(o dhcpv4.Option) dhcpv4.Modifier { return dhcpv4.WithOption(o) }

func generic(code dhcpv4.OptionCode, value ...byte) dhcpv4.Modifier {
	return with(dhcpv4.OptGeneric(code, value))
}

func TestParse(t *testing.T) {
	plain := Lease{
		Address: netip.MustParsePrefix("192.168.64.7/24"), Server: addr("192.168.64.1"),
		Renew: 30 * time.Minute, Rebind: 52*time.Minute + 30*time.Second, Expire: time.Hour,
	}
	timed := func(renew, rebind, expire time.Duration) Lease {
		l := plain
		l.Renew, l.Rebind, l.Expire = renew, rebind, expire
		return l
	}
	prefix := func(bits int) Lease {
		l := plain
		l.Address = netip.PrefixFrom(l.Address.Addr(), bits)
		return l
	}
	named := plain
	named.Gateway, named.DNS, named.MTU = addr("192.168.64.1"), []netip.Addr{addr("1.1.1.1"), addr("9.9.9.9")}, 1400
	tests := map[string]struct {
		options []dhcpv4.Modifier
		want    Lease
	}{
		"default times": {nil, plain},
		"gateway, resolvers and MTU are taken": {[]dhcpv4.Modifier{
			with(dhcpv4.OptRouter(net.IPv4(192, 168, 64, 1), net.IPv4(192, 168, 64, 2))),
			with(dhcpv4.OptDNS(net.IPv4(1, 1, 1, 1), net.IPv4(9, 9, 9, 9))),
			generic(dhcpv4.OptionInterfaceMTU, 0x05, 0x78),
		}, named},
		"the server's times": {
			[]dhcpv4.Modifier{with(dhcpv4.OptRenewTimeValue(10 * time.Minute)), with(dhcpv4.OptRebindingTimeValue(20 * time.Minute))},
			timed(10*time.Minute, 20*time.Minute, time.Hour),
		},
		"times out of order are ignored": {
			[]dhcpv4.Modifier{with(dhcpv4.OptRenewTimeValue(50 * time.Minute)), with(dhcpv4.OptRebindingTimeValue(20 * time.Minute))}, plain,
		},
		"a time after the end is ignored":      {[]dhcpv4.Modifier{with(dhcpv4.OptRebindingTimeValue(2 * time.Hour))}, plain},
		"an infinite lease never ends":         {[]dhcpv4.Modifier{dhcpv4.WithLeaseTime(1<<32 - 1)}, timed(Forever, Forever, Forever)},
		"a lease of 0 seconds gets a minimum":  {[]dhcpv4.Modifier{dhcpv4.WithLeaseTime(0)}, timed(5*time.Second, 8750*time.Millisecond, 10*time.Second)},
		"a lease without a time lasts an hour": {[]dhcpv4.Modifier{dhcpv4.WithoutOption(dhcpv4.OptionIPAddressLeaseTime)}, plain},
		"a network of one address":             {[]dhcpv4.Modifier{dhcpv4.WithNetmask(net.CIDRMask(32, 32))}, prefix(32)},
		"without a mask, the class's default":  {[]dhcpv4.Modifier{dhcpv4.WithoutOption(dhcpv4.OptionSubnetMask)}, prefix(24)},
		"invalid options are ignored": {[]dhcpv4.Modifier{
			with(dhcpv4.OptRouter(net.IPv4zero)), with(dhcpv4.OptDNS(net.IPv4bcast, net.IPv4(224, 0, 0, 1))),
			generic(dhcpv4.OptionInterfaceMTU, 0, 20),
		}, plain},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(ack(tt.options...))
			if d := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); d != "" || err != nil {
				t.Errorf("Parse (-want +got): %v\n%s", err, d)
			}
		})
	}
}

func TestParseRefusesAnUnusableAddress(t *testing.T) {
	for name, m := range map[string]*dhcpv4.DHCPv4{
		"no address":         ack(dhcpv4.WithYourIP(net.IPv4zero)),
		"broadcast address":  ack(dhcpv4.WithYourIP(net.IPv4bcast)),
		"multicast address":  ack(dhcpv4.WithYourIP(net.IPv4(224, 1, 1, 1))),
		"loopback":           ack(dhcpv4.WithYourIP(net.IPv4(127, 0, 0, 1))),
		"a mask with a hole": ack(generic(dhcpv4.OptionSubnetMask, 255, 0, 255, 0)),
		"an empty mask":      ack(generic(dhcpv4.OptionSubnetMask, 0, 0, 0, 0)),
	} {
		if l, err := Parse(m); err == nil {
			t.Errorf("%s: %+v", name, l)
		}
	}
}

func TestPauseShrinksTowardsTheEnd(t *testing.T) {
	l := Lease{Renew: 30 * time.Minute, Rebind: 50 * time.Minute, Expire: time.Hour}
	for _, tt := range []struct{ age, want time.Duration }{
		{0, 30 * time.Minute},
		{10 * time.Minute, 20 * time.Minute},
		{30 * time.Minute, 10 * time.Minute},
		{40 * time.Minute, 5 * time.Minute},
		{49 * time.Minute, time.Minute}, // no less than a minute
		{50 * time.Minute, 5 * time.Minute},
		{59*time.Minute + 30*time.Second, 30 * time.Second}, // but not beyond the end
		{time.Hour, 0},
		{90 * time.Minute, 0},
	} {
		if got := l.Pause(tt.age); got != tt.want {
			t.Errorf("at the age of %v the pause is %v, want %v", tt.age, got, tt.want)
		}
	}
	if got := (Lease{Renew: Forever, Rebind: Forever, Expire: Forever}).Pause(time.Hour); got != Forever {
		t.Errorf("an infinite lease is renewed after %v", got)
	}
}

// Whatever a server sends, a parsed lease is usable and renewable.
func FuzzParse(f *testing.F) {
	f.Add(ack().ToBytes())
	f.Add(ack(dhcpv4.WithLeaseTime(0), generic(dhcpv4.OptionInterfaceMTU, 1)).ToBytes())
	f.Add(ack(dhcpv4.WithLeaseTime(1<<32-1), generic(dhcpv4.OptionSubnetMask, 255)).ToBytes())
	f.Fuzz(func(t *testing.T, packet []byte) {
		m, err := dhcpv4.FromBytes(packet)
		if err != nil {
			return
		}
		l, err := Parse(m)
		if err != nil {
			return
		}
		if !l.Address.IsValid() || !l.Address.Addr().Is4() || l.Address.Bits() == 0 {
			t.Errorf("the address %v", l.Address)
		}
		if l.Renew <= 0 || l.Renew > l.Rebind || l.Rebind > l.Expire || l.Pause(0) <= 0 {
			t.Errorf("the times %v, %v and %v", l.Renew, l.Rebind, l.Expire)
		}
	})
}
