//go:build linux

package agent

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/guest"
)

// writeNames sets the machine's host name, and writes its hosts file and resolvers.
func writeNames(conf guest.Boot) error {
	var problems []error
	if conf.Hostname != "" {
		problems = append(problems, setHostname(conf.Hostname))
	}
	return errors.Join(append(problems, writeAddresses(conf.Hostname, conf.Network))...)
}

// setHostname sets the host name: the machine's, unless the user has set another one inside.
func setHostname(name string) error {
	const path = "/etc/hostname"
	mine, err := agentFiles.write(path, name+"\n", 0o644)
	if !mine && err == nil {
		var text string
		if text, err = readOptional(path); err == nil {
			name = cmp.Or(chosenName(text), name)
		}
	}
	if setErr := unix.Sethostname([]byte(name)); setErr != nil {
		err = errors.Join(err, fmt.Errorf("set the host name: %w", setErr))
	}
	return err
}

// chosenName returns the host name in the text of /etc/hostname, or "".
func chosenName(text string) string {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			return line
		}
	}
	return ""
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
		// Replace an image's link to a resolver's own file: the resolver may not run, and
		// systemd-resolved reads its servers from a regular file here.
		_, err := agentFiles.write("/etc/resolv.conf", resolvConf(network.DNS), 0o644)
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// The lines of /etc/hosts that the agent writes at each boot lie between these two.
const (
	hostsBegin = "# stead writes these lines at each boot:"
	hostsEnd   = "# What follows is yours."
)

// formerNames reports whether a line of /etc/hosts is one that agents wrote before they marked
// theirs: an address, a tab and the machine's two names.
func formerNames(line string) bool {
	_, names, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "\t")
	name, domain, two := strings.Cut(names, " ")
	return ok && two && domain == name+".machine"
}

// hosts returns the text of /etc/hosts: loopback and the machine first, as Apple's
// container machine writes them, then what the image or the user has written there.
func hosts(old, name string, network *guest.Network) string {
	address := "127.0.1.1" // Debian's convention for a host name without a network
	if network != nil && network.Address != "" {
		address, _, _ = strings.Cut(network.Address, "/")
	}
	v6, inside := false, false
	var rest strings.Builder
	for line := range strings.Lines(old) {
		text := strings.TrimRight(line, "\r\n")
		switch {
		case text == hostsBegin:
			inside = true
		case text == hostsEnd:
			inside = false
		case inside, formerNames(line):
		default:
			f := strings.Fields(line)
			v6 = v6 || len(f) > 1 && f[0] == "::1"
			rest.WriteString(line)
		}
	}
	lines := []string{hostsBegin, "127.0.0.1\tlocalhost", fmt.Sprintf("%s\t%s %s.machine", address, name, name)}
	if !v6 {
		lines = append(lines, "::1\tlocalhost ip6-localhost ip6-loopback")
	}
	return strings.Join(append(lines, hostsEnd), "\n") + "\n" + rest.String()
}

func resolvConf(servers []string) string {
	var b strings.Builder
	b.WriteString("# Written by stead at each boot.\n")
	for _, s := range servers {
		fmt.Fprintf(&b, "nameserver %s\n", s)
	}
	return b.String()
}
