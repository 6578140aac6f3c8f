package local

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/stead-vm/stead/provider/fault"
)

// ReportFD is the supervisor process's file descriptor of the pipe for its report.
const ReportFD = 3

// report is the line that a supervisor writes to the command that started it.
type report struct {
	Ready       bool `json:"ready,omitempty"`
	*fault.Wire      // why it is not ready
}

// sendReport reports that the machine is ready, or why it is not, and closes the pipe. The
// command at the other end may have ended.
func sendReport(started io.WriteCloser, err error) {
	r := report{Ready: err == nil}
	if err != nil {
		w := fault.ToWire(err)
		r.Wire = &w
	}
	_ = json.NewEncoder(started).Encode(r)
	_ = started.Close()
}

// ReportFailure reports why a supervisor cannot start.
func ReportFailure(started io.WriteCloser, err error) { sendReport(started, err) }

// readReport waits for the report of the supervisor of the machine id.
func readReport(started io.Reader, id string) error {
	var r report
	data, err := io.ReadAll(started)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return &StartError{ID: id, Err: errors.New("its supervisor ended without a report")}
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return fmt.Errorf("report of the supervisor: %w", err)
	}
	switch {
	case r.Ready:
		return nil
	case r.Wire == nil:
		return &StartError{ID: id, Err: errors.New("its supervisor gave no reason")}
	}
	return &StartError{ID: id, Err: r.Err()}
}
