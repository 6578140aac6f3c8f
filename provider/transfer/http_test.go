package transfer

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestRedirectsIntoTheLocalNetworkAreRefused(t *testing.T) {
	for to, refused := range map[string]bool{
		"http://169.254.169.254/latest": true,
		"http://[::ffff:10.0.0.1]/x":    true,
		"http://[fe80::1]/x":            true,
		"http://127.0.0.1:8080/x":       true,
		"https://cdn.example.com/x":     false,
		"https://203.0.113.7/x":         false,
		"https://registry.example/y":    false,
	} {
		from := httptest.NewRequest(http.MethodGet, "https://registry.example/v2/", nil)
		if err := CheckRedirect(httptest.NewRequest(http.MethodGet, to, nil), []*http.Request{from}); (err != nil) != refused {
			t.Errorf("to %s: %v", to, err)
		}
	}
}
