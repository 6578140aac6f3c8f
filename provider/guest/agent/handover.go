//go:build linux

package agent

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/guest/agent/initsys"
	"github.com/stead-vm/stead/provider/guest/agent/lease"
)

// Paths of the agent in a running machine. They are on a tmpfs, so that a boot leaves
// nothing on the machine's disk.
const (
	runDir       = "/run/stead"
	handoverPath = runDir + "/boot.json"
)

// handover holds the state that process 1 passes to the daemon, and the daemon to the one that
// replaces it if it is killed.
type handover struct {
	Boot guest.Boot   `json:"boot"`
	Init initsys.Init `json:"init"`
	// Lease is the DHCP lease that Boot.Network comes from, if any.
	Lease lease.Lease `json:"lease"`
	// Problem says why the machine cannot become ready although it boots.
	Problem string `json:"problem,omitempty"`
}

// write stores h. It has the boot's keys, so only root can read it.
func (h handover) write() error {
	text, err := json.Marshal(h)
	if err == nil {
		err = os.MkdirAll(runDir, 0o755)
	}
	if err == nil {
		err = replaceFile(handoverPath, string(text), 0o600)
	}
	if err != nil {
		return fmt.Errorf("hand over to the daemon: %w", err)
	}
	return nil
}

// updating is held while the hand-over is read and written again.
var updating sync.Mutex

// updateHandover changes what a restarted daemon will find.
func updateHandover(change func(*handover)) error {
	updating.Lock()
	defer updating.Unlock()
	h, err := readHandover()
	if err != nil {
		return err
	}
	change(&h)
	return h.write()
}

func readHandover() (h handover, err error) {
	text, err := os.ReadFile(handoverPath)
	if err == nil {
		err = json.Unmarshal(text, &h)
	}
	if err != nil {
		return h, fmt.Errorf("read the hand-over: %w", err)
	}
	return h, nil
}
