package transfer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"
)

// RefusedError reports a place that a server must not send us to.
type RefusedError struct {
	Place string // an address or a URL's scheme and host
	Why   string // "an address in a local network"
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("server redirects to %s, %s", e.Place, e.Why)
}

// Guard is a [http.RoundTripper] for the requests to one server, and for those that it causes by
// redirects and by naming a token server. It dials no address in a local network, where a
// cloud's metadata service or a router might answer, unless the server itself, which the user
// has named, has such an address. It looks at the addresses as they are dialled: a name may
// mean another one at each look. It does not follow from HTTPS to HTTP, where everybody on
// the way could read credentials.
//
// What a proxy dials is up to the proxy.
type Guard struct {
	base    http.RoundTripper // for requests through a proxy, and if it is not a *http.Transport
	direct  *http.Transport   // nil: base is not a *http.Transport
	local   func(netip.AddrPort) bool
	outside atomic.Bool // the server is not in a local network
	inside  atomic.Bool // it is
}

// NewGuard returns a guard for one server that is reached as base does.
func NewGuard(base http.RoundTripper) *Guard {
	g := &Guard{base: base, local: func(a netip.AddrPort) bool { return isLocal(a.Addr()) }}
	if t, ok := base.(*http.Transport); ok {
		g.direct = t.Clone()
		g.direct.Proxy = nil
		g.direct.DialContext = g.dial
	}
	return g
}

// RoundTrip implements [http.RoundTripper].
func (g *Guard) RoundTrip(q *http.Request) (*http.Response, error) {
	if from := q.Response; from != nil && from.Request != nil && from.Request.URL.Scheme == "https" && q.URL.Scheme != "https" {
		return nil, &RefusedError{Place: q.URL.Scheme + "://" + q.URL.Host, Why: "without encryption"}
	}
	if g.direct == nil {
		return g.base.RoundTrip(q)
	}
	if proxy := g.base.(*http.Transport).Proxy; proxy != nil {
		if to, err := proxy(q); err != nil || to != nil {
			if !g.inside.Load() {
				g.outside.Store(true) // as far as we know
			}
			return g.base.RoundTrip(q)
		}
	}
	return g.direct.RoundTrip(q)
}

// CloseIdleConnections closes the connections that no request uses.
func (g *Guard) CloseIdleConnections() {
	if g.direct != nil {
		g.direct.CloseIdleConnections()
	}
}

// dial connects. The first connection is to the server itself, and shows where that is.
func (g *Guard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second, Control: g.check}
	conn, err := d.DialContext(ctx, network, address)
	if err != nil || g.inside.Load() || g.outside.Load() {
		return conn, err
	}
	at, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if g.local(at) {
		g.inside.Store(true)
	} else {
		g.outside.Store(true)
	}
	return conn, nil
}

// check refuses an address that is about to be dialled.
func (g *Guard) check(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if g.outside.Load() && g.local(at) {
		return refusedLocal(at.Addr())
	}
	return nil
}

func refusedLocal(a netip.Addr) error {
	return &RefusedError{Place: a.Unmap().String(), Why: "an address in a local network"}
}

// Addresses that netip does not report as private.
var (
	sharedSpace = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598; a cloud's metadata service, too
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8")     // RFC 1122 §3.2.1.3
	nat64       = netip.MustParsePrefix("64:ff9b::/96")  // RFC 6052: the last four bytes are an IPv4 address
)

// isLocal reports whether an address is of this host or a network that it is in.
func isLocal(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if nat64.Contains(a) {
		b := a.As16()
		a = netip.AddrFrom4([4]byte(b[12:]))
	}
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() ||
		sharedSpace.Contains(a) || thisNetwork.Contains(a)
}
