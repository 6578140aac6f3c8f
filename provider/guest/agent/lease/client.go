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

// Patience is how long servers may take to answer. What is not answered is sent again
// after firstRetry, and after twice as long each time: at 0, 1, 3 and 7 seconds.
const (
	Patience   = 15 * time.Second
	firstRetry = time.Second
	tries      = 4
)

// ErrRefused reports a server that says that the address is not the machine's any more.
var ErrRefused = errors.New("the DHCP server refused")

// NoAnswerError reports that nobody has answered.
type NoAnswerError struct {
	Card string
	Err  error
}

func (e *NoAnswerError) Error() string {
	return fmt.Sprintf("no DHCP server answered on %s within %s", e.Card, Patience)
}

func (e *NoAnswerError) Unwrap() error { return e.Err }

// Client asks on one card, which has to be up. It holds nothing between two questions.
type Client struct {
	Card     string // name of the network device
	Hostname string // told to the server, which may show it in its lists

	open func(card string, how ...nclient4.ClientOpt) (*nclient4.Client, error) // default: nclient4.New
}

// Discover asks for a new lease: a [NoAnswerError] if nobody answers.
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

// Renew asks for the same address for another while: the server that granted it, or
// anyone. It returns [ErrRefused] or a [NoAnswerError] if the lease is not renewed.
//
// The question goes to everybody in either case, as the server's own address may have
// changed while the host slept; whose answer counts differs.
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

// details are what is said and asked beside the address.
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
		return fmt.Errorf("ask for an address on %s: %w", c.Card, err)
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
		return fmt.Errorf("ask for an address on %s: %w", c.Card, err)
	}
}
