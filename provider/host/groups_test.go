package host

import (
	"os"
	"slices"
	"testing"
)

func TestGroupsAreThoseOfTheProcess(t *testing.T) {
	got, err := Groups()
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, os.Getgid())
	slices.Sort(want)
	var gids []int
	for _, g := range got {
		gids = append(gids, g.GID)
	}
	if want = slices.Compact(want); !slices.Equal(gids, want) {
		t.Errorf("groups are %v, want %v", gids, want)
	}
}
