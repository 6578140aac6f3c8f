//go:build linux

package agent

import (
	"fmt"
	"net"

	"github.com/vishvananda/netlink"

	"github.com/stead-vm/stead/provider/guest"
)

// setUpNetwork brings up loopback and gives the first network card its static
// settings; nil leaves the card alone.
func setUpNetwork(conf *guest.Network) error {
	if lo, err := netlink.LinkByName("lo"); err == nil {
		if err := netlink.LinkSetUp(lo); err != nil {
			return fmt.Errorf("bring up loopback: %w", err)
		}
	}
	if conf == nil {
		return nil
	}
	addr, err := netlink.ParseAddr(conf.Address)
	if err != nil {
		return fmt.Errorf("address %q: %w", conf.Address, err)
	}
	gateway := net.ParseIP(conf.Gateway)
	if gateway == nil {
		return fmt.Errorf("gateway %q is no IP address", conf.Gateway)
	}
	var card netlink.Link
	if err := await("a network card", func() bool {
		card = firstCard()
		return card != nil
	}); err != nil {
		return err
	}
	name := card.Attrs().Name
	if conf.MTU > 0 {
		if err := netlink.LinkSetMTU(card, conf.MTU); err != nil {
			return fmt.Errorf("set the MTU of %s to %d: %w", name, conf.MTU, err)
		}
	}
	if err := netlink.AddrReplace(card, addr); err != nil {
		return fmt.Errorf("give %s the address %s: %w", name, conf.Address, err)
	}
	if err := netlink.LinkSetUp(card); err != nil {
		return fmt.Errorf("bring up %s: %w", name, err)
	}
	if err := netlink.RouteReplace(&netlink.Route{LinkIndex: card.Attrs().Index, Gw: gateway}); err != nil {
		return fmt.Errorf("route through %s: %w", gateway, err)
	}
	return nil
}

// firstCard is the network device with the lowest index that is a card.
func firstCard() netlink.Link {
	links, err := netlink.LinkList()
	if err != nil {
		return nil
	}
	var first netlink.Link
	for _, l := range links {
		a := l.Attrs()
		if a.EncapType == "ether" && (first == nil || a.Index < first.Attrs().Index) {
			first = l
		}
	}
	return first
}
