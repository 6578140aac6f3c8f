//go:build linux

package lease

import (
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
)

// wire is a network with a server that answers each request.
type wire struct {
	server  func(asked *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4
	answers chan *dhcpv4.DHCPv4
	closed  chan struct{}
}

func (w wire) WriteTo(p []byte, _ net.Addr) (int, error) {
	asked, err := dhcpv4.FromBytes(p)
	if err != nil {
		return 0, err
	}
	for _, m := range w.server(asked) {
		w.answers <- m
	}
	return len(p), nil
}

func (w wire) ReadFrom(p []byte) (int, net.Addr, error) {
	select {
	case m := <-w.answers:
		return copy(p, m.ToBytes()), &net.UDPAddr{}, nil
	case <-w.closed:
		return 0, nil, os.ErrClosed
	}
}

func (w wire) Close() error                     { close(w.closed); return nil }
func (w wire) LocalAddr() net.Addr              { return &net.UDPAddr{} }
func (w wire) SetDeadline(time.Time) error      { return nil }
func (w wire) SetReadDeadline(time.Time) error  { return nil }
func (w wire) SetWriteDeadline(time.Time) error { return nil }

// on returns a client on a network with the server.
func on(server func(*dhcpv4.DHCPv4) []*dhcpv4.DHCPv4) Client {
	return Client{Card: "eth0", Hostname: "dev", open: func(_ string, how ...nclient4.ClientOpt) (*nclient4.Client, error) {
		w := wire{server: server, answers: make(chan *dhcpv4.DHCPv4, 10), closed: make(chan struct{})}
		return nclient4.NewWithConn(w, net.HardwareAddr{2, 0, 0, 0, 0, 1}, how...)
	}}
}

// reply returns an answer of the server at 192.168.64.last.
func reply(asked *dhcpv4.DHCPv4, kind dhcpv4.MessageType, last byte) *dhcpv4.DHCPv4 {
	return ack(dhcpv4.WithReply(asked), dhcpv4.WithYourIP(net.IPv4(192, 168, 64, 7)), dhcpv4.WithMessageType(kind),
		with(dhcpv4.OptServerIdentifier(net.IPv4(192, 168, 64, last))))
}

func TestDiscover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := on(func(asked *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
			if asked.HostName() != "dev" || !asked.IsOptionRequested(dhcpv4.OptionInterfaceMTU) {
				t.Errorf("%v lacks the host name, or does not ask for an MTU", asked.Summary())
			}
			if asked.MessageType() == dhcpv4.MessageTypeDiscover {
				return []*dhcpv4.DHCPv4{reply(asked, dhcpv4.MessageTypeOffer, 1)}
			}
			return []*dhcpv4.DHCPv4{reply(asked, dhcpv4.MessageTypeAck, 1)}
		}).Discover(t.Context())
		if err != nil || l.Address.String() != "192.168.64.7/24" {
			t.Errorf("Discover = %+v, %v", l, err)
		}
	})
}

func TestRenew(t *testing.T) {
	old, err := Parse(ack())
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		kind   dhcpv4.MessageType
		server byte
		anyone bool
		want   error
	}{
		"its server grants":                       {kind: dhcpv4.MessageTypeAck, server: 1},
		"its server refuses":                      {kind: dhcpv4.MessageTypeNak, server: 1, want: ErrRefused},
		"another server is ignored":               {kind: dhcpv4.MessageTypeNak, server: 9, want: nclient4.ErrNoResponse},
		"another server grants, while rebinding":  {kind: dhcpv4.MessageTypeAck, server: 9, anyone: true},
		"another server refuses, while rebinding": {kind: dhcpv4.MessageTypeNak, server: 9, anyone: true, want: ErrRefused},
		"an offer is ignored":                     {kind: dhcpv4.MessageTypeOffer, server: 1, anyone: true, want: nclient4.ErrNoResponse},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, err := on(func(asked *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
					if !asked.ClientIPAddr.Equal(net.IPv4(192, 168, 64, 7)) || asked.RequestedIPAddress() != nil && !asked.RequestedIPAddress().IsUnspecified() || asked.ServerIdentifier() != nil {
						t.Errorf("%v is not a request to renew", asked.Summary())
					}
					return []*dhcpv4.DHCPv4{reply(asked, tt.kind, tt.server)}
				}).Renew(t.Context(), old, tt.anyone)
				if !errors.Is(err, tt.want) || err == nil && l.Address != old.Address {
					t.Errorf("Renew = %+v, %v", l, err)
				}
			})
		})
	}
}

func TestNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		start := time.Now()
		_, err := on(func(*dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
			at = append(at, time.Since(start))
			return nil
		}).Discover(t.Context())
		var silent *NoAnswerError
		if !errors.As(err, &silent) || err.Error() != "no DHCP server answered on eth0 within 15s" {
			t.Errorf("Discover = %v", err)
		}
		if len(at) != 4 || time.Since(start) != Patience {
			t.Errorf("asked %v, gave up after %v", at, time.Since(start))
		}
	})
}
