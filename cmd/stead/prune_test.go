package main

import (
	"strings"
	"testing"

	"github.com/stead-vm/stead/provider/image"
)

func TestPruneMarksImagesFromFiles(t *testing.T) {
	var out strings.Builder
	a := &app{out: &printer{&out}}
	err := a.listUnused([]image.Entry{
		{Image: image.Image{Reference: "docker.io/library/debian:12", Size: 3 << 20}},
		{Image: image.Image{Reference: "local/build:0123456789abcdef", Size: 2 << 20}, Imported: true},
		{Image: image.Image{Reference: "local/dev:1", Size: 1 << 20}, Imported: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if marked := strings.Contains(line, "cannot be pulled again"); marked != strings.Contains(line, "local/dev:1") {
			t.Errorf("%q", line)
		}
	}
}
