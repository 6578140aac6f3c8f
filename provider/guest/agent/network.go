//go:build linux

package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/vishvananda/netlink"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/guest/agent/lease"
)

// setUpNetwork brings up loopback and, if Boot.Network is set, the first network card. A
// DHCP lease goes into the hand-over: the daemon renews it. If no server answers, that is
// not an error, because a machine is usable without a network; the daemon keeps asking.
func (h *handover) setUpNetwork(log *slog.Logger) error {
	if lo, err := netlink.LinkByName("lo"); err == nil {
		if err := netlink.LinkSetUp(lo); err != nil {
			return fmt.Errorf("bring up loopback: %w", err)
		}
	}
	if h.Boot.Network == nil {
		return nil
	}
	var card netlink.Link
	if err := await("a network card", func() bool {
		card = firstCard()
		return card != nil
	}); err != nil {
		return err
	}
	if h.Boot.Network.DHCP {
		if err := netlink.LinkSetUp(card); err != nil {
			return fmt.Errorf("bring up %s: %w", card.Attrs().Name, err)
		}
		granted, err := lease.Client{Card: card.Attrs().Name, Hostname: h.Boot.Hostname}.Discover(context.Background())
		var silent *lease.NoAnswerError
		if errors.As(err, &silent) {
			log.Warn("this machine has no address yet", "err", err)
			return nil
		}
		if err != nil {
			return err
		}
		h.Lease = granted
		h.Boot.Network = withLease(*h.Boot.Network, granted)
	}
	return setUpCard(card, *h.Boot.Network)
}

// setUpCard sets a card's address, MTU and default route.
func setUpCard(card netlink.Link, conf guest.Network) error {
	name := card.Attrs().Name
	addr, err := netlink.ParseAddr(conf.Address)
	if err != nil {
		return fmt.Errorf("address %q: %w", conf.Address, err)
	}
	if conf.MTU > 0 {
		if err := netlink.LinkSetMTU(card, conf.MTU); err != nil {
			return fmt.Errorf("set the MTU of %s to %d: %w", name, conf.MTU, err)
		}
	}
	if err := netlink.AddrReplace(card, addr); err != nil {
		return fmt.Errorf("set the address of %s to %s: %w", name, conf.Address, err)
	}
	if err := netlink.LinkSetUp(card); err != nil {
		return fmt.Errorf("bring up %s: %w", name, err)
	}
	if conf.Gateway == "" {
		return nil // a network without a gateway
	}
	gateway := net.ParseIP(conf.Gateway)
	if gateway == nil {
		return fmt.Errorf("gateway %q is not an IP address", conf.Gateway)
	}
	route := &netlink.Route{LinkIndex: card.Attrs().Index, Gw: gateway}
	if !addr.Contains(gateway) {
		route.SetFlag(netlink.FLAG_ONLINK) // the gateway is outside of the card's network
	}
	if err := netlink.RouteReplace(route); err != nil {
		return fmt.Errorf("route through %s: %w", gateway, err)
	}
	return nil
}

// dropAddress removes an address from a card, and with it the routes that need it.
func dropAddress(card netlink.Link, address string) error {
	addr, err := netlink.ParseAddr(address)
	if err == nil {
		err = netlink.AddrDel(card, addr)
	}
	if err != nil {
		return fmt.Errorf("remove the address %s from %s: %w", address, card.Attrs().Name, err)
	}
	return nil
}

// errNoCard reports that the network card has disappeared since the boot.
var errNoCard = errors.New("the network card is gone")

// firstCard returns the Ethernet device with the lowest index, or nil.
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
