// Package jsonhttp implements the protocol between the processes of a machine: HTTP with
// JSON bodies, and a [fault.Wire] as the body of a failure. The supervisor calls the agent
// with it, and commands call the supervisor.
package jsonhttp

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/stead-vm/stead/provider/fault"
)

// maxBody bounds the body of a request or an answer, in bytes.
const maxBody = 1 << 20

// Answer writes body as the answer.
func Answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body) // fails only if the client is gone
}

// Fail answers with an error, which keeps its type and remedy on the other side.
func Fail(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(fault.ToWire(err)) // fails only if the client is gone
}

// Decode reads the request's body into v. If that fails, it answers with the error and
// returns false.
func Decode(w http.ResponseWriter, r *http.Request, v any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(v); err != nil {
		Fail(w, http.StatusBadRequest, fmt.Errorf("invalid body: %w", err))
		return false
	}
	return true
}

// Peer is a server with a client that reaches it, whatever the host name in the URL.
type Peer struct {
	Name    string // in errors: "agent"
	Foreign string // whose word it is, where it is not to be trusted: "the machine"; empty: stead's own
	HTTP    *http.Client
}

// Call sends a request to the peer. body and answer are JSON values, or nil.
func (p Peer) Call(ctx context.Context, method, path string, body, answer any) error {
	var in io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+p.Name+path, in)
	if err != nil {
		return err
	}
	res, err := p.HTTP.Do(req)
	if err != nil {
		return fmt.Errorf("ask the %s: %w", p.Name, err)
	}
	defer res.Body.Close()
	out, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil {
		return fmt.Errorf("read the %s's answer: %w", p.Name, err)
	}
	if res.StatusCode/100 != 2 {
		var answered fault.Wire
		if json.Unmarshal(out, &answered) != nil || answered.Message == "" {
			answered = fault.Wire{Message: res.Status}
		}
		if p.Foreign != "" {
			answered = answered.From(p.Foreign)
		}
		return fmt.Errorf("the %s refused %s %s: %w", p.Name, method, path, answered.Err())
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(out, answer); err != nil {
		return fmt.Errorf("read the %s's answer to %s: %w", p.Name, path, err)
	}
	return nil
}
