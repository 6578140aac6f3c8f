package vz

import (
	"errors"
	"net"
	"os"
	"runtime"
	"time"

	"github.com/Code-Hex/vz/v3"
)

var defaultPace = pace{retry: 5 * time.Millisecond, patience: time.Second, look: time.Second}

// machine is an instance of the framework.
type machine struct {
	vm      *vz.VirtualMachine
	agent   *vz.VirtioSocketDevice
	packets *os.File // of the network card, or nil: the framework uses the descriptor itself
}

var _ instance = (*machine)(nil)

// findAgent finds the device over which the agent is dialled.
func (m *machine) findAgent() error {
	sockets := m.vm.SocketDevices()
	if len(sockets) != 1 {
		return errors.Join(errors.New("vz: the machine has no socket device"), m.vm.Stop())
	}
	m.agent = sockets[0]
	return nil
}

// wait implements instance. It is the one reader of the states, of which each goes to one
// reader only. Those of the start are waiting there.
func (m *machine) wait() error {
	for state := range m.vm.StateChangedNotify() {
		switch state {
		case vz.VirtualMachineStateStopped:
			return nil
		case vz.VirtualMachineStateError:
			return &InternalError{}
		default:
		}
	}
	return &InternalError{}
}

// connect implements instance. vz closes the first descriptor of a connection, of which it
// returns a copy, and so does the framework when its object goes, a moment later: whoever
// got that number in between loses it. The supervisor dials a few times a boot.
func (m *machine) connect(port uint32) (net.Conn, error) {
	conn, err := m.agent.Connect(port)
	runtime.KeepAlive(m) // the device is the machine's, and its wrapper does not hold it
	if err != nil {
		return nil, refused("reach the guest", err) // conn is a nil pointer, which is no nil net.Conn
	}
	return conn, nil
}

// powerButton implements instance.
func (m *machine) powerButton() error {
	if !m.vm.CanRequestStop() {
		return errors.New("the machine takes no power button now")
	}
	pressed, err := m.vm.RequestStop()
	if err == nil && !pressed {
		err = errors.New("the machine did not take it")
	}
	return refused("press the power button", err)
}

// stop implements instance.
func (m *machine) stop() error {
	if !m.vm.CanStop() {
		return errors.New("the machine cannot be stopped while it starts or stops")
	}
	return refused("stop the machine", m.vm.Stop())
}

// release implements instance.
func (m *machine) release() {
	if m.packets != nil {
		m.packets.Close()
	}
}
