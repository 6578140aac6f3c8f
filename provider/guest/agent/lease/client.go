//go:build linux

package lease

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
)

// Patience is how long servers may take to answer. A request without an answer is repeated
// after firstRetry, then after twice as long each time: at 0, 1, 3 and 7 seconds.
const (
	Patience   = 15 * time.Second
	firstRetry = time.Second
	tries      = 4
)

// ErrRefused reports that the server no longer grants the address.
var ErrRefused = errors.New("the DHCP server refused")

// NoAnswerError reports that no server answered.
type NoAnswerError struct {
	Card string
	Err  error
}

func (e *NoAnswerError) Error() string {
	return fmt.Sprintf("no DHCP server answered on %s within %s", e.Card, Patience)
}

func (e *NoAnswerError) Unwrap() error { return e.Err }

// Client sends DHCP requests on one card, which must be up. It keeps no state between
// requests.
type Client struct {
	Card     string // name of the network device
	Hostname string // sent to the server, which may list it

	open func(card string, how ...nclient4.ClientOpt) (*nclient4.Client, error) // default: nclient4.New
}

// Discover asks for a new lease. It returns a [NoAnswerError] if no server answers.
func (c Client) Discover(ctx context.Context) (Lease, error) {
	var l Lease
	err := c.ask(ctx, func(ctx context.Context, n *nclient4.Client) error {
		granted, err := n.Request(ctx, c.details)
		if err != nil {
			return err
		}
		l, err = Parse(granted.ACK)
		return err
	})
	return l, err
}

// Renew extends the lease l. It accepts an answer of the server that granted l, or, with
// anyone, of any server. It returns [ErrRefused] or a [NoAnswerError] if the lease is not
// renewed.
//
// The request is a broadcast in either case, because the server's own address may have
// changed while the host slept.
func (c Client) Renew(ctx context.Context, l Lease, anyone bool) (Lease, error) {
	var next Lease
	err := c.ask(ctx, func(ctx context.Context, n *nclient4.Client) error {
		request, err := dhcpv4.New(
			dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest),
			dhcpv4.WithHwAddr(n.InterfaceAddr()),
			dhcpv4.WithClientIP(l.Address.Addr().AsSlice()),
			dhcpv4.WithOption(dhcpv4.OptMaxMessageSize(nclient4.MaxMessageSize)),
			c.details,
		)
		if err != nil {
			return err
		}
		matches := nclient4.IsMessageType(dhcpv4.MessageTypeAck, dhcpv4.MessageTypeNak)
		if !anyone && l.Server.IsValid() {
			matches = nclient4.IsAll(matches, nclient4.IsCorrectServer(net.IP(l.Server.AsSlice())))
		}
		answer, err := n.SendAndRead(ctx, n.RemoteAddr(), request, matches)
		if err != nil {
			return err
		}
		if answer.MessageType() == dhcpv4.MessageTypeNak {
			return ErrRefused
		}
		next, err = Parse(answer)
		return err
	})
	return next, err
}

// details adds the requested options and the host name.
func (c Client) details(d *dhcpv4.DHCPv4) {
	d.UpdateOption(dhcpv4.OptParameterRequestList(
		dhcpv4.OptionSubnetMask, dhcpv4.OptionRouter, dhcpv4.OptionDomainNameServer, dhcpv4.OptionInterfaceMTU,
		dhcpv4.OptionRenewTimeValue, dhcpv4.OptionRebindingTimeValue,
	))
	if c.Hostname != "" {
		d.UpdateOption(dhcpv4.OptHostName(c.Hostname))
	}
}

func (c Client) ask(ctx context.Context, question func(context.Context, *nclient4.Client) error) error {
	open := nclient4.New
	if c.open != nil {
		open = c.open
	}
	n, err := open(c.Card, nclient4.WithTimeout(firstRetry), nclient4.WithRetry(tries))
	if err != nil {
		return fmt.Errorf("request an address on %s: %w", c.Card, err)
	}
	defer n.Close()
	limited, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	err = question(limited, n)
	var refused *nclient4.ErrNak
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &refused):
		return fmt.Errorf("%w: %w", ErrRefused, err)
	case errors.Is(err, nclient4.ErrNoResponse), errors.Is(err, context.DeadlineExceeded):
		return &NoAnswerError{Card: c.Card, Err: err}
	default:
		return fmt.Errorf("request an address on %s: %w", c.Card, err)
	}
}
