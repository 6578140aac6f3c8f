// Package usage measures the disk usage of a state directory, and removes unneeded files.
package usage

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/stead-vm/stead/provider/bundle"
	"github.com/stead-vm/stead/provider/image"
	"github.com/stead-vm/stead/provider/space"
)

// Kinds of groups.
const (
	Images   = "images"   // blobs of images, and parts of interrupted pulls
	Disks    = "disks"    // disks of images, from which those of machines are cloned
	Machines = "machines" // disks of machines
	Kernels  = "kernels"  // default kernels that were fetched, kernels unpacked for emulation
	Logs     = "logs"     // logs of machines
	Other    = "other"    // settings, locks, leftovers of killed commands
)

// Report is the disk usage of a state directory. Every file is in exactly one group.
type Report struct {
	Home     string
	Groups   []Group
	Unneeded int64 // bytes on disk of unneeded files, which Prune removes by default
}

// Group is the disk usage of one kind of files. Layers that images share count once in its
// Space.
type Group struct {
	Kind  string
	Count int // of images, disks and so on; partial files and leftovers do not count
	space.Space
	Reclaimable int64 // bytes on disk that Prune can free at most
	Items       []Item
}

// Item is the disk usage of one thing, such as an image, a disk or a machine.
type Item struct {
	Name  string
	Owner string   // a machine's project
	Users []string // of an image: machines made from it
	space.Space
	Reclaimable int64
}

func (g *Group) add(i Item) {
	g.Items = append(g.Items, i)
	g.Space = g.Plus(i.Space)
	g.Reclaimable += i.Reclaimable
}

// Meter measures and frees the space of one state directory.
type Meter struct {
	Bundles *bundle.Store
	Images  *image.Store
	Kernels []string // directories of kernels
}

// Measure reads the sizes of all files of the state directory. Other commands may change it
// meanwhile.
func (m *Meter) Measure(ctx context.Context) (Report, error) {
	images, disks, unneeded, err := m.images(ctx)
	if err != nil {
		return Report{}, err
	}
	machines, logs, err := m.machines()
	if err != nil {
		return Report{}, err
	}
	kernels, other := Group{Kind: Kernels}, Group{Kind: Other}
	for _, dir := range m.Kernels {
		for _, k := range filesIn(dir, "") {
			kernels.add(k)
		}
	}
	kernels.Count = len(kernels.Items)
	err = m.Bundles.EachLeftover(func(dir string) error {
		taken, _, err := space.In(dir)
		other.add(Item{Name: "machines/" + filepath.Base(dir), Space: taken, Reclaimable: taken.Real})
		unneeded += taken.Real
		return err
	})
	if err != nil {
		return Report{}, err
	}
	all, _, err := space.In(m.Bundles.Home())
	rest := Item{Name: "settings, locks and other files", Space: all}
	for _, g := range []Group{images, disks, machines, kernels, logs, other} {
		rest.Size, rest.Real = max(rest.Size-g.Size, 0), max(rest.Real-g.Real, 0)
	}
	other.add(rest)
	return Report{Home: m.Bundles.Home(), Groups: []Group{images, disks, machines, kernels, logs, other}, Unneeded: unneeded}, err
}

func (m *Meter) images(ctx context.Context) (images, disks Group, unneeded int64, err error) {
	images, disks = Group{Kind: Images}, Group{Kind: Disks}
	made, err := m.Bundles.MadeFrom()
	if err != nil {
		return images, disks, 0, err
	}
	// An unreadable machine may be of any image.
	used := func(digest string) bool { return len(made[digest])+len(made[""]) > 0 }
	u, err := m.Images.Usage(ctx, used)
	if err != nil {
		return images, disks, 0, err
	}
	for _, i := range u.Images {
		item := Item{Name: i.Reference, Users: made[i.Digest], Space: i.Blobs}
		if !used(i.Digest) {
			item.Reclaimable = i.Own
		}
		images.Items = append(images.Items, item)
	}
	for _, i := range []Item{{Name: "blobs that no image needs", Space: u.Nameless}, {Name: "interrupted pulls", Space: u.Parts}} {
		if i.Reclaimable = i.Real; i.Size > 0 {
			images.Items = append(images.Items, i)
		}
		unneeded += i.Real
	}
	images.Count, images.Space, images.Reclaimable = len(u.Images), u.Blobs.Plus(u.Parts), u.Reclaimable
	for _, d := range u.Disks {
		name := d.Reference
		if d.Stale {
			name = "disk that no image needs"
			unneeded += d.Real
		}
		disks.add(Item{Name: name, Space: d.Space, Reclaimable: d.Real})
	}
	disks.Count = len(u.Disks)
	return images, disks, unneeded, nil
}

func (m *Meter) machines() (machines, logs Group, err error) {
	machines, logs = Group{Kind: Machines}, Group{Kind: Logs}
	ids, err := m.Bundles.IDs()
	if err != nil {
		return machines, logs, err
	}
	for _, id := range ids {
		b := m.Bundles.Bundle(id)
		item := Item{Name: id}
		if r, err := b.Record(); err == nil {
			item.Owner = r.Owner().Project
		}
		if info, err := os.Stat(b.Path(bundle.DiskFile)); err == nil {
			item.Space = space.Of(info)
		}
		machines.add(item)
		for _, l := range filesIn(b.Dir, ".log") {
			l.Name = id + "/" + l.Name
			logs.add(l)
		}
	}
	machines.Count, logs.Count = len(machines.Items), len(logs.Items)
	return machines, logs, nil
}

// filesIn returns the files of a directory whose names have the suffix, except hidden files,
// such as locks. It returns none if the directory does not exist.
func filesIn(dir, suffix string) []Item {
	entries, _ := os.ReadDir(dir)
	var items []Item
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && strings.HasSuffix(e.Name(), suffix) && !strings.HasPrefix(e.Name(), ".") {
			items = append(items, Item{Name: e.Name(), Space: space.Of(info)})
		}
	}
	return items
}
