package transfer

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// servers are one that the user has named, and another that nobody but the first names.
type servers struct {
	first, other *httptest.Server
	asked        atomic.Int32 // of other
}

// newServers starts them. The first redirects to the other by a name, as only dialling shows its
// address.
func newServers(t *testing.T) *servers {
	t.Helper()
	s := &servers{}
	s.other = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.asked.Add(1)
		_, _ = w.Write([]byte(`{"token":"secret"}`))
	}))
	t.Cleanup(s.other.Close)
	s.first = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		switch q.URL.Path {
		case "/v2/":
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+s.named()+`/token"`)
			w.WriteHeader(http.StatusUnauthorized)
		case "/elsewhere":
			http.Redirect(w, q, s.named()+"/metadata", http.StatusFound)
		case "/itself":
			http.Redirect(w, q, "/", http.StatusFound)
		}
	}))
	t.Cleanup(s.first.Close)
	return s
}

func (s *servers) named() string { return strings.Replace(s.other.URL, "127.0.0.1", "localhost", 1) }

// guard returns a guard for which the addresses of some servers are in a local network.
func guard(local ...*httptest.Server) *Guard {
	g := NewGuard(http.DefaultTransport)
	g.local = func(a netip.AddrPort) bool {
		for _, s := range local {
			if strings.HasSuffix(s.URL, ":"+a.String()[strings.LastIndexByte(a.String(), ':')+1:]) {
				return true
			}
		}
		return false
	}
	return g
}

func TestRedirectsIntoTheLocalNetworkAreRefusedWhenDialled(t *testing.T) {
	tests := map[string]struct {
		path  string
		local func(s *servers) []*httptest.Server
		works bool
	}{
		"from the internet":        {"/elsewhere", func(s *servers) []*httptest.Server { return []*httptest.Server{s.other} }, false},
		"within the internet":      {"/elsewhere", func(*servers) []*httptest.Server { return nil }, true},
		"within the local network": {"/elsewhere", func(s *servers) []*httptest.Server { return []*httptest.Server{s.first, s.other} }, true},
		"from a server to itself":  {"/itself", func(s *servers) []*httptest.Server { return []*httptest.Server{s.first} }, true},
		"out of the local network": {"/elsewhere", func(s *servers) []*httptest.Server { return []*httptest.Server{s.first} }, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newServers(t)
			g := guard(tt.local(s)...)
			defer g.CloseIdleConnections()
			client := &http.Client{Transport: transport.NewUserAgent(g, "stead"), CheckRedirect: CheckRedirect}
			res, err := Request(t.Context(), client, s.first.URL+tt.path, "")
			if err == nil {
				_ = res.Body.Close()
			}
			var refused *RefusedError
			switch {
			case tt.works && err != nil:
				t.Errorf("refused: %v", err)
			case !tt.works && (!errors.As(err, &refused) || s.asked.Load() > 0):
				t.Errorf("the other server was asked %d times: %v", s.asked.Load(), err)
			}
			var again transientError
			if errors.As(classify(err), &again) {
				t.Errorf("it is tried again: %v", err)
			}
		})
	}
}

// A registry names the server of its tokens, and could name a service of the local network.
func TestTokenServersInTheLocalNetworkAreRefusedWhenDialled(t *testing.T) {
	s := newServers(t)
	reg, err := name.NewRegistry(strings.TrimPrefix(s.first.URL, "http://"), name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	g := guard(s.other)
	defer g.CloseIdleConnections()
	_, err = transport.NewWithContext(t.Context(), reg, authn.Anonymous, g, []string{"repository:x:pull"})
	var refused *RefusedError
	if !errors.As(err, &refused) || s.asked.Load() > 0 {
		t.Errorf("the token server was asked %d times: %v", s.asked.Load(), err)
	}
}

func TestRedirectsFromHTTPSToHTTPAreRefused(t *testing.T) {
	var asked atomic.Int32
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer plain.Close()
	secure := httptest.NewTLSServer(http.RedirectHandler(plain.URL+"/blob?signature=abc", http.StatusTemporaryRedirect))
	defer secure.Close()
	client := &http.Client{Transport: NewGuard(secure.Client().Transport), CheckRedirect: CheckRedirect}
	_, err := Request(t.Context(), client, secure.URL, "")
	var refused *RefusedError
	if !errors.As(err, &refused) || asked.Load() > 0 || strings.Contains(err.Error(), "signature") {
		t.Errorf("the server without encryption was asked %d times: %v", asked.Load(), err)
	}
}

// What a proxy dials cannot be seen, and the proxy itself may be in the local network.
func TestAProxyMayBeInTheLocalNetwork(t *testing.T) {
	s := newServers(t)
	proxy, err := url.Parse(s.other.URL)
	if err != nil {
		t.Fatal(err)
	}
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.Proxy = http.ProxyURL(proxy)
	defer base.CloseIdleConnections()
	g := NewGuard(base)
	res, err := Request(t.Context(), &http.Client{Transport: g}, "http://registry.test/", "")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if s.asked.Load() != 1 || !g.outside.Load() {
		t.Errorf("the proxy was asked %d times", s.asked.Load())
	}
}

func TestIsLocal(t *testing.T) {
	for address, want := range map[string]bool{
		"8.8.8.8": false, "2001:4860:4860::8888": false, "64:ff9b::808:808": false, "100.63.0.1": false,
		"127.0.0.1": true, "127.9.9.9": true, "::1": true, "10.0.0.1": true, "172.16.0.1": true, "192.168.1.1": true,
		"169.254.169.254": true, "fe80::1%eth0": true, "fd00:ec2::254": true, "0.0.0.0": true, "0.1.2.3": true, "::": true,
		"::ffff:10.0.0.1": true, "64:ff9b::a9fe:a9fe": true, "100.100.100.200": true, "224.0.0.1": true,
	} {
		if got := isLocal(netip.MustParseAddr(address)); got != want {
			t.Errorf("isLocal(%s) = %v", address, got)
		}
	}
}
