package main

import (
	"context"
	"strings"
	"time"

	"github.com/stead-vm/stead/provider/local"
	"github.com/stead-vm/stead/provider/machine"

	"github.com/spf13/cobra"
)

// inspectItem is one machine in inspect's array: Apple's keys, then ours.
type inspectItem struct {
	ID    string `json:"id"`
	Image struct {
		Reference string `json:"reference"`
		Digest    string `json:"digest"`
	} `json:"image"`
	Platform struct {
		OS           string `json:"os"`
		Architecture string `json:"architecture"`
	} `json:"platform"`
	Status      string            `json:"status"`
	Problem     string            `json:"problem,omitempty"`
	StartedDate time.Time         `json:"startedDate,omitzero"`
	CreatedDate time.Time         `json:"createdDate"`
	ContainerID string            `json:"containerId"`
	CPUs        int               `json:"cpus"`
	Memory      int64             `json:"memory"` // bytes
	HomeMount   machine.HomeMount `json:"homeMount"`
	DiskSize    int64             `json:"diskSize"` // bytes that it occupies
	IPAddress   string            `json:"ipAddress,omitempty"`

	DiskLimit      int64  `json:"diskLimit"` // bytes it may grow to
	Kernel         string `json:"kernel,omitempty"`
	Virtualization bool   `json:"virtualization"`
	SSHAgent       bool   `json:"sshAgent"`

	Unreachable time.Time `json:"unreachableSince,omitzero"`
	Services    []string  `json:"services"`
	Project     string    `json:"project,omitempty"`
	File        string    `json:"file,omitempty"`
	Default     bool      `json:"default"`
}

func newInspectCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "inspect [NAME]",
		Short:             "Show the details of a machine as JSON",
		Args:              takesArgs(0, 1),
		Example:           "stead machine inspect dev",
		ValidArgsFunction: a.nameArg,
		RunE: a.onTarget(func(ctx context.Context, p *local.Provider, id string) error {
			m, err := p.Machines.Get(ctx, id)
			if err != nil {
				return err
			}
			return writeIndented(a.out, []inspectItem{inspect(m)})
		}),
	}
}

func inspect(m machine.Machine) inspectItem {
	i := inspectItem{
		ID: m.ID, Status: m.State.String(), Problem: m.Problem, StartedDate: m.Started, CreatedDate: m.Created,
		ContainerID: m.ID, CPUs: m.CPUs, Memory: m.Memory, HomeMount: m.HomeMount, DiskSize: m.DiskUsed,
		IPAddress: m.Address, DiskLimit: m.Disk, Kernel: m.Kernel, Virtualization: m.Virtualization, SSHAgent: !m.NoSSHAgent, Unreachable: unreachableSince(m),
		Services: append([]string{}, m.Services...), Project: m.Owner.Project, File: m.Owner.File, Default: m.Default,
	}
	i.Image.Reference, i.Image.Digest = m.Image, m.Digest
	i.Platform.OS, i.Platform.Architecture, _ = strings.Cut(m.Platform.String(), "/")
	return i
}
