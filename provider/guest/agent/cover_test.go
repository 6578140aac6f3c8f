//go:build linux

package agent

import (
	"testing"

	"github.com/stead-vm/stead/provider/guest"
)

func TestWhatCoversAShare(t *testing.T) {
	const root = "1 0 254:0 / / rw - ext4 /dev/vda rw\n"
	const home = `30 1 0:40 / /tmp/ci\040home rw,nosuid - virtiofs home rw` + "\n"
	for name, c := range map[string]struct{ mounts, want string }{
		"nothing":                    {root + home, ""},
		"an earlier mount above":     {root + "29 1 0:39 / /tmp rw - tmpfs tmpfs rw\n" + home, ""},
		"a later mount above":        {root + home + "31 1 0:41 / /tmp rw - tmpfs tmpfs rw\n", "tmpfs on /tmp"},
		"a later mount at its place": {root + home + `31 30 0:41 / /tmp/ci\040home rw - ext4 /dev/vdb rw` + "\n", "ext4 on /tmp/ci home"},
		"mounted once more":          {root + home + "31 1 0:41 / /tmp rw - tmpfs tmpfs rw\n" + home, ""},
		"a later mount inside":       {root + home + `31 30 0:41 / /tmp/ci\040home/work rw - tmpfs tmpfs rw` + "\n", ""},
		"a later mount beside":       {root + home + "31 1 0:41 / /tmp/ci rw - tmpfs tmpfs rw\n", ""},
		"optional fields":            {root + `30 1 0:40 / /tmp/ci\040home rw shared:1 master:2 - virtiofs home rw` + "\n", ""},
		"another share at its place": {root + home + `31 30 0:41 / /tmp/ci\040home rw - virtiofs other rw` + "\n", "virtiofs on /tmp/ci home"},
	} {
		t.Run(name, func(t *testing.T) {
			mounted, got, err := coverOf([]byte(c.mounts), guest.Mount{Tag: "home", Target: "/tmp/ci home"})
			if err != nil || !mounted || got != c.want {
				t.Errorf("%q, want %q; %v", got, c.want, err)
			}
		})
	}
	for _, bad := range []string{"1 0 254:0 / / rw\n", "1 0 - ext4 /dev/vda\n"} {
		if _, got, err := coverOf([]byte(bad), guest.Mount{Target: "/home"}); err == nil {
			t.Errorf("%q: %q", bad, got)
		}
	}
	if mounted, by, err := coverOf([]byte(root), guest.Mount{Tag: "home", Target: "/tmp/ci home"}); mounted || err != nil {
		t.Errorf("a share that was unmounted: %v, %q, %v", mounted, by, err)
	}
}
