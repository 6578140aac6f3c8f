//go:build !linux

package main

import "github.com/spf13/cobra"

// systemCommands are the commands that only this system has.
func systemCommands(*app) []*cobra.Command { return nil }
