package jsonhttp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

type pair struct{ A, B int }

func newPeer(t *testing.T, handler http.HandlerFunc) Peer {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", server.Listener.Addr().String())
	}
	return Peer{Name: "server", HTTP: &http.Client{Transport: &http.Transport{DialContext: dial}}}
}

func TestCallCarriesValuesBothWays(t *testing.T) {
	p := newPeer(t, func(w http.ResponseWriter, r *http.Request) {
		var v pair
		if Decode(w, r, &v) {
			Answer(w, pair{v.B, v.A})
		}
	})
	var got pair
	if err := p.Call(t.Context(), http.MethodPut, "/v1/x", pair{1, 2}, &got); err != nil || got != (pair{2, 1}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestErrorsKeepTheServersMessage(t *testing.T) {
	tests := map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"a refusal": {func(w http.ResponseWriter, _ *http.Request) {
			Fail(w, http.StatusConflict, errors.New("it is stopped"))
		}, "the server refused PUT /v1/x: it is stopped"},
		"an invalid body":      {func(w http.ResponseWriter, r *http.Request) { Decode(w, r, new([]int)) }, "invalid body"},
		"an error without one": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }, "418"},
		"an invalid answer":    {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("junk")) }, "read the server's answer to /v1/x"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := newPeer(t, tt.handler).Call(t.Context(), http.MethodPut, "/v1/x", pair{}, &pair{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// StoppedError is a typed error with a remedy, as servers have them.
type StoppedError struct{ Machine string }

func (e *StoppedError) Error() string  { return e.Machine + " is stopped" }
func (e *StoppedError) Remedy() string { return "start " + e.Machine }

func TestErrorsKeepTypeAndRemedy(t *testing.T) {
	peer := newPeer(t, func(w http.ResponseWriter, _ *http.Request) {
		Fail(w, http.StatusConflict, fmt.Errorf("run: %w", &StoppedError{Machine: "dev"}))
	})
	err := peer.Call(t.Context(), http.MethodPut, "/v1/x", pair{}, &pair{})
	var stopped *StoppedError
	if !errors.As(err, &stopped) || stopped.Machine != "dev" {
		t.Errorf("the type of %v is lost", err)
	}
	var advice interface{ Remedy() string }
	if !errors.As(err, &advice) || advice.Remedy() != "start dev" {
		t.Errorf("the remedy of %v is lost", err)
	}
}
