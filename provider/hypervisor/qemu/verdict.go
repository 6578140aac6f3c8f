//go:build linux

package qemu

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/stead-vm/stead/provider/regular"
)

// verdict holds which accelerator machines use, and why it is not KVM.
type verdict struct {
	Accel   string `json:"accel"`
	Why     string `json:"why,omitempty"`
	Warning string `json:"warning,omitempty"`
}

// verdicts is the cache file. A restart of the host invalidates it: the kernel, firmware
// and settings may have changed.
type verdicts struct {
	path     string
	BootID   string             `json:"bootId"`
	Verdicts map[string]verdict `json:"verdicts"` // by verdictKey
}

// maxVerdicts bounds the cache's file, in bytes.
const maxVerdicts = 1 << 20

// openVerdicts reads the cache. It returns an empty one if the file is damaged or from
// before a restart of the host.
func openVerdicts(path string) (verdicts, error) {
	bootID, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return verdicts{}, fmt.Errorf("read the host's boot ID: %w", err)
	}
	current := verdicts{path: path, BootID: strings.TrimSpace(string(bootID))}
	data, err := regular.ReadFile(path, maxVerdicts)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return verdicts{}, err
	}
	var stored verdicts
	if json.Unmarshal(data, &stored) == nil && stored.BootID == current.BootID {
		current.Verdicts = stored.Verdicts
	}
	return current, nil
}

// add stores a verdict.
func (c verdicts) add(key string, v verdict) error {
	c.Verdicts = maps.Clone(c.Verdicts)
	if c.Verdicts == nil {
		c.Verdicts = map[string]verdict{}
	}
	c.Verdicts[key] = v
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return renameio.WriteFile(c.path, append(data, '\n'), 0o600)
}

// verdictKey returns the key of a verdict: a QEMU and a kernel. Size and time of QEMU's
// file show an update without running it.
func verdictKey(binary, kernelDigest string) (string, error) {
	info, err := os.Stat(binary)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %d %d %s", binary, info.Size(), info.ModTime().UnixNano(), kernelDigest), nil
}
