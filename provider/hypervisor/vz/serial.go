package vz

import (
	"context"
	"errors"
	"os"

	"github.com/stead-vm/stead/provider/hypervisor/console"
)

// serial is the wire of a machine's console: two pipes. Nothing is ever sent to the guest, but
// the framework wants a file to read from, which must not be at its end.
type serial struct {
	input, output *os.File // the framework's ends
	silent        *os.File // our end of input, kept open
	printed       *os.File // our end of output

	over   context.Context // done when the machine has ended
	finish context.CancelFunc
}

func newSerial() (*serial, error) {
	s := &serial{}
	var err error
	if s.input, s.silent, err = os.Pipe(); err != nil {
		return nil, err
	}
	if s.printed, s.output, err = os.Pipe(); err != nil {
		return nil, errors.Join(err, s.input.Close(), s.silent.Close())
	}
	s.over, s.finish = context.WithCancel(context.Background())
	return s, nil
}

// copyTo passes on what the guest prints until the wire is closed.
func (s *serial) copyTo(screen *console.Console) {
	screen.Copy(s.over, s.printed)
	s.printed.Close()
}

// close closes the framework's ends. copyTo returns when it has read the rest.
func (s *serial) close() {
	s.finish()
	s.input.Close()
	s.silent.Close()
	s.output.Close()
}
