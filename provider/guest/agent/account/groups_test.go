//go:build linux

package account

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEnsureGroups(t *testing.T) {
	base := debianGroup + "video:x:44:bob\n"
	tests := map[string]struct {
		group string
		want  []Group
		added []int
		text  string
		now   []int
	}{
		"a group of the host is added":            {base, []Group{{Name: "team", GID: 2000}}, nil, base + "team:x:2000:ada\n", []int{2000}},
		"a group that has the id is used":         {base, []Group{{Name: "wheel", GID: 44}}, nil, debianGroup + "video:x:44:bob,ada\n", []int{44}},
		"a name that another group has":           {base, []Group{{Name: "video", GID: 2000}}, nil, base + "host-2000:x:2000:ada\n", []int{2000}},
		"a name that no group can have":           {base, []Group{{Name: "domain users", GID: 2000}}, nil, base + "host-2000:x:2000:ada\n", []int{2000}},
		"an id without a name":                    {base, []Group{{GID: 2000}}, nil, base + "host-2000:x:2000:ada\n", []int{2000}},
		"a group that the user has left":          {base + "team:x:2000:ada\n", nil, []int{2000}, base + "team:x:2000:\n", nil},
		"a membership of the guest is kept":       {base + "own:x:3000:ada\n", nil, nil, base + "own:x:3000:ada\n", nil},
		"a membership of the guest is not ours":   {base + "own:x:3000:ada\n", []Group{{Name: "own", GID: 3000}}, nil, base + "own:x:3000:ada\n", nil},
		"a group that was removed is no problem":  {base, nil, []int{2000}, base, nil},
		"members of others stay":                  {base + "team:x:2000:bob,ada,eve\n", nil, []int{2000}, base + "team:x:2000:bob,eve\n", nil},
		"a membership of an earlier boot is ours": {base + "team:x:2000:ada\n", []Group{{Name: "team", GID: 2000}}, []int{2000}, base + "team:x:2000:ada\n", []int{2000}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, now := Files{Group: tt.group}.EnsureGroups("ada", tt.want, tt.added)
			if d := cmp.Diff(tt.text, got.Group); d != "" {
				t.Errorf("group (-want +got):\n%s", d)
			}
			if !slices.Equal(now, tt.now) {
				t.Errorf("memberships are %v, want %v", now, tt.now)
			}
			again, _ := got.EnsureGroups("ada", tt.want, now)
			if d := cmp.Diff(got, again); d != "" {
				t.Errorf("not idempotent (-once +twice):\n%s", d)
			}
		})
	}
}

func TestEnsureGroupsKeepsTheShadowedMembers(t *testing.T) {
	have := Files{Group: "video:x:44:\n", GShadow: "video:*::\n"}
	got, added := have.EnsureGroups("ada", []Group{{Name: "video", GID: 44}, {Name: "team", GID: 2000}}, nil)
	if want := "video:*::ada\nteam:!::ada\n"; got.GShadow != want {
		t.Errorf("gshadow is %q, want %q", got.GShadow, want)
	}
	if got, _ := got.EnsureGroups("ada", nil, added); got.GShadow != "video:*::\nteam:!::\n" {
		t.Errorf("gshadow is then %q", got.GShadow)
	}
}
