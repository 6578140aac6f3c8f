//go:build linux

package agent

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/guest"
)

// writeNames sets the machine's host name, and writes its hosts file and resolvers.
func writeNames(conf guest.Boot) error {
	var problems []error
	if conf.Hostname != "" {
		if err := unix.Sethostname([]byte(conf.Hostname)); err != nil {
			problems = append(problems, fmt.Errorf("set the host name: %w", err))
		}
		problems = append(problems, replaceFile("/etc/hostname", conf.Hostname+"\n", 0o644))
	}
	return errors.Join(append(problems, writeAddresses(conf.Hostname, conf.Network))...)
}

// writeAddresses writes the files that depend on the machine's address and network.
func writeAddresses(name string, network *guest.Network) error {
	var problems []error
	if name != "" {
		old, err := readOptional("/etc/hosts")
		if err == nil {
			err = replaceFile("/etc/hosts", hosts(old, name, network), 0o644)
		}
		problems = append(problems, err)
	}
	if network != nil && len(network.DNS) > 0 {
		// Replace a link to a resolver's own file: the resolver may not run, and
		// systemd-resolved reads its servers from a regular file here.
		problems = append(problems, replaceFile("/etc/resolv.conf", resolvConf(network.DNS), 0o644))
	}
	return errors.Join(problems...)
}

// hosts returns the text of /etc/hosts: loopback and the machine first, as Apple's
// container machine writes them, then the image's entries for other names.
func hosts(old, name string, network *guest.Network) string {
	address := "127.0.1.1" // Debian's convention for a host name without a network
	if network != nil && network.Address != "" {
		address, _, _ = strings.Cut(network.Address, "/")
	}
	lines := []string{"127.0.0.1\tlocalhost", fmt.Sprintf("%s\t%s %s.machine", address, name, name)}
	v6 := false
	for line := range strings.Lines(old) {
		f := strings.Fields(line)
		switch {
		case len(f) > 1 && (slices.Equal(f, []string{"127.0.0.1", "localhost"}) || slices.Contains(f[1:], name)):
			continue
		case len(f) > 1 && f[0] == "::1":
			v6 = true
		}
		lines = append(lines, strings.TrimRight(line, "\r\n"))
	}
	if !v6 {
		lines = append(lines, "::1\tlocalhost ip6-localhost ip6-loopback")
	}
	return strings.Join(lines, "\n") + "\n"
}

func resolvConf(servers []string) string {
	var b strings.Builder
	b.WriteString("# Written by stead at each boot.\n")
	for _, s := range servers {
		fmt.Fprintf(&b, "nameserver %s\n", s)
	}
	return b.String()
}
