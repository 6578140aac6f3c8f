//go:build linux

package agent

import (
	"cmp"
	"context"
	"errors"
	"log/slog"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/guest/agent/lease"
)

// withLease returns conf with the settings of the lease l, or without an address if l is zero.
func withLease(conf guest.Network, l lease.Lease) *guest.Network {
	conf.Address, conf.Gateway = "", ""
	if l.Address.IsValid() {
		conf.Address = l.Address.String()
	}
	if l.Gateway.IsValid() {
		conf.Gateway = l.Gateway.String()
	}
	if len(l.DNS) > 0 {
		conf.DNS = nil
		for _, a := range l.DNS {
			conf.DNS = append(conf.DNS, a.String())
		}
	}
	conf.MTU = cmp.Or(l.MTU, conf.MTU)
	return &conf
}

// keepLease renews the boot's lease for as long as the machine runs. If the boot got none,
// it keeps asking.
func keepLease(log *slog.Logger, h handover, c *control) {
	card := firstCard()
	if card == nil {
		return // the boot has reported that
	}
	keeper := lease.Keeper{
		Server: lease.Client{Card: card.Attrs().Name, Hostname: h.Boot.Hostname},
		Apply: func(old, now lease.Lease) error {
			err := updateHandover(func(kept *handover) {
				kept.Lease, kept.Boot.Network = now, withLease(*h.Boot.Network, now)
			})
			return errors.Join(err, c.useLease(h.Boot, old, now))
		},
		Wake: c.wakes,
		Log:  log,
	}
	keeper.Run(context.Background(), h.Lease)
}

// useLease replaces the settings of the lease old with those of now. Either may be zero.
func (c *control) useLease(conf guest.Boot, old, now lease.Lease) error {
	card := firstCard()
	if card == nil {
		return errNoCard
	}
	network := withLease(*conf.Network, now)
	c.setAddress(network)
	var problems []error
	if old.Address.IsValid() && old.Address != now.Address {
		problems = append(problems, dropAddress(card, old.Address.String()))
	}
	if now.Address.IsValid() {
		problems = append(problems, setUpCard(card, *network))
	}
	return errors.Join(append(problems, writeAddresses(conf.Hostname, network))...)
}
