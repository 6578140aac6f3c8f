//go:build linux

package agent

import (
	"os"
	"path/filepath"
	"strings"
)

// fstabPath is where systemd reads the file systems to mount if /etc/fstab names devices that the
// machine does not have; see SYSTEMD_FSTAB in systemd's docs/ENVIRONMENT.md.
const fstabPath = runDir + "/fstab"

// prepareFstab keeps systemd from waiting for devices of another computer, from which the image may
// have been made: it would wait for 90 seconds, then go to emergency mode. It returns the lines
// that do not count in this boot. /etc/fstab itself stays as it is.
func prepareFstab(root string) (without []string, err error) {
	text, err := readOptional(filepath.Join(root, "etc/fstab"))
	if err != nil {
		return nil, err
	}
	exists := func(device string) bool {
		_, err := os.Stat(filepath.Join(root, device))
		return err == nil
	}
	kept, without := withoutMissing(text, exists)
	if len(without) == 0 {
		return nil, nil
	}
	return without, replaceFile(filepath.Join(root, fstabPath), kept, 0o644)
}

// withoutMissing returns the text of an fstab(5) without the lines for devices that do not exist,
// and these lines. A machine's only disk is the root's, which is mounted: so what is found by an ID
// or a label is missing as well.
func withoutMissing(fstab string, exists func(device string) bool) (kept string, missing []string) {
	var b strings.Builder
	for line := range strings.Lines(fstab) {
		fields := append(strings.Fields(line), "", "", "", "") // the last ones may be left out
		if source, options := fields[0], fields[3]; isMissing(source, exists) && !mayWait(options) {
			missing = append(missing, strings.TrimSpace(line))
			continue
		}
		b.WriteString(line)
	}
	return b.String(), missing
}

// mayWait reports whether a line with these options does not hold up the boot, or is for a device
// that a service of the machine makes.
func mayWait(options string) bool {
	for option := range strings.SplitSeq(options, ",") {
		if name, _, _ := strings.Cut(option, "="); name == "noauto" || name == "nofail" || name == "_netdev" || name == "x-systemd.requires" {
			return true
		}
	}
	return false
}

func isMissing(source string, exists func(device string) bool) bool {
	tag, _, tagged := strings.Cut(source, "=")
	switch {
	case tagged && (tag == "UUID" || tag == "LABEL" || tag == "PARTUUID" || tag == "PARTLABEL" || tag == "ID"):
		return true
	case strings.HasPrefix(source, "/dev/loop"), strings.HasPrefix(source, "/dev/nbd"): // set up inside
		return false
	case strings.HasPrefix(source, "/dev/"):
		return !exists(source)
	}
	return false
}
