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

// machine implements instance with the framework.
type machine struct {
	vm      *vz.VirtualMachine
	agent   *vz.VirtioSocketDevice
	serial  *serial
	packets *os.File // of the network card, or nil; the framework uses this very descriptor
}

var _ instance = (*machine)(nil)

// findAgent finds the socket device for dialling the agent.
func (m *machine) findAgent() error {
	sockets := m.vm.SocketDevices()
	if len(sockets) != 1 {
		return errors.Join(errors.New("vz: the machine has no socket device"), m.vm.Stop())
	}
	m.agent = sockets[0]
	return nil
}

// wait implements instance. It must be the only reader of the channel: each state goes to
// one reader. The states of the start are still in the channel.
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

// connect implements instance. vz returns a copy of the connection's descriptor and closes
// the original. The framework closes the same number again when it frees its object, a
// moment later, so a file opened in between would be closed. The supervisor keeps that risk
// small: it dials only a few times per boot.
func (m *machine) connect(port uint32) (net.Conn, error) {
	conn, err := m.agent.Connect(port)
	runtime.KeepAlive(m) // the device's wrapper does not keep the machine alive
	if err != nil {
		return nil, refused("reach the guest", err) // a nil conn would not be a nil net.Conn
	}
	return conn, nil
}

// powerButton implements instance.
func (m *machine) powerButton() error {
	if !m.vm.CanRequestStop() {
		return errors.New("the machine does not accept the power button in this state")
	}
	pressed, err := m.vm.RequestStop()
	if err == nil && !pressed {
		err = errors.New("the framework did not accept the request")
	}
	return refused("press the power button", err)
}

// stop implements instance.
func (m *machine) stop() error {
	if !m.vm.CanStop() {
		return errors.New("cannot stop the machine while it starts or stops")
	}
	return refused("stop the machine", m.vm.Stop())
}

// release implements instance.
func (m *machine) release() {
	if m.packets != nil {
		m.packets.Close()
	}
	if m.serial != nil {
		m.serial.close()
	}
}
