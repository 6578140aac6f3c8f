//go:build linux

package agent

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/guest/agent/lease"
)

func TestWithLease(t *testing.T) {
	bare := lease.Lease{Address: netip.MustParsePrefix("192.168.64.7/24")}
	full := bare
	full.Gateway, full.MTU = netip.MustParseAddr("192.168.64.1"), 1400
	full.DNS = []netip.Addr{netip.MustParseAddr("192.168.64.1"), netip.MustParseAddr("9.9.9.9")}
	earlier := guest.Network{DHCP: true, Address: "10.0.0.1/8", Gateway: "10.0.0.2", DNS: []string{"1.1.1.1"}, MTU: 1500}
	tests := map[string]struct {
		lease lease.Lease
		want  guest.Network
	}{
		"the lease's settings override": {full, guest.Network{
			DHCP: true, Address: "192.168.64.7/24", Gateway: "192.168.64.1", DNS: []string{"192.168.64.1", "9.9.9.9"}, MTU: 1400,
		}},
		"a lease without options keeps resolvers and MTU, but no gateway": {bare, guest.Network{
			DHCP: true, Address: "192.168.64.7/24", DNS: []string{"1.1.1.1"}, MTU: 1500,
		}},
		"no lease, no address": {lease.Lease{}, guest.Network{DHCP: true, DNS: []string{"1.1.1.1"}, MTU: 1500}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(&tt.want, withLease(earlier, tt.lease)); d != "" {
				t.Errorf("leased (-want +got):\n%s", d)
			}
		})
	}
}
