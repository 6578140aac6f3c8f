//go:build linux

// Command stead-agent is the guest's side of stead: the init of the initramfs, then a
// daemon in the machine. It is built without cgo and embedded in stead.
package main

import (
	"os"

	"github.com/stead-vm/stead/provider/guest/agent"
)

func main() { os.Exit(agent.Main()) }
