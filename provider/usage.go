package provider

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/stead-vm/stead/provider/image"
)

// Kinds of what a state folder holds.
const (
	UsedByImages   = "images"   // blobs of images, and parts of interrupted pulls
	UsedByDisks    = "disks"    // disks of images, from which those of machines are cloned
	UsedByMachines = "machines" // disks of machines
	UsedByKernels  = "kernels"  // default kernels that were fetched, kernels unpacked for emulation
	UsedByLogs     = "logs"     // logs of machines
	UsedByOther    = "other"    // settings, locks, leftovers of killed commands
)

// Usage is what a state folder takes on this host. All of its files are in one of the
// groups, so that the sum of those is all.
type Usage struct {
	Home     string
	Groups   []UsageGroup
	Unneeded int64 // real bytes that nothing needs: what Prune frees without being told more
}

// UsageGroup is what one kind of thing takes. Layers that images share count once in
// its Space.
type UsageGroup struct {
	Kind  string
	Count int // of things; parts of files and leftovers are none
	image.Space
	Reclaimable int64 // real bytes that Prune can free at most
	Items       []UsageItem
}

// UsageItem is what one thing takes.
type UsageItem struct {
	Name  string
	Owner string   // a machine's project
	Users []string // of an image: machines made from it
	image.Space
	Reclaimable int64
}

func (g *UsageGroup) add(i UsageItem) {
	g.Items = append(g.Items, i)
	g.Space = g.Plus(i.Space)
	g.Reclaimable += i.Reclaimable
}

// Usage looks at every file of the state folder. What it finds is a moment old at once
// where others work.
func (p *Provider) Usage(ctx context.Context) (Usage, error) {
	images, disks, unneeded, err := p.imagesUsage(ctx)
	if err != nil {
		return Usage{}, err
	}
	machines, logs, err := p.machinesUsage()
	if err != nil {
		return Usage{}, err
	}
	kernels, other := UsageGroup{Kind: UsedByKernels}, UsageGroup{Kind: UsedByOther}
	for _, dir := range []string{p.kernelsDir(), filepath.Join(p.opts.Home, "cache", "kernels")} {
		for _, k := range filesIn(dir, "") {
			kernels.add(k)
		}
	}
	kernels.Count = len(kernels.Items)
	err = p.eachLeftover("", func(dir string) error {
		taken, _, err := image.SpaceIn(dir)
		other.add(UsageItem{Name: "machines/" + filepath.Base(dir), Space: taken, Reclaimable: taken.Real})
		unneeded += taken.Real
		return err
	})
	if err != nil {
		return Usage{}, err
	}
	all, _, err := image.SpaceIn(p.opts.Home)
	rest := UsageItem{Name: "settings, locks and the like", Space: all}
	for _, g := range []UsageGroup{images, disks, machines, kernels, logs, other} {
		rest.Size, rest.Real = max(rest.Size-g.Size, 0), max(rest.Real-g.Real, 0)
	}
	other.add(rest)
	return Usage{Home: p.opts.Home, Groups: []UsageGroup{images, disks, machines, kernels, logs, other}, Unneeded: unneeded}, err
}

func (p *Provider) imagesUsage(ctx context.Context) (images, disks UsageGroup, unneeded int64, err error) {
	images, disks = UsageGroup{Kind: UsedByImages}, UsageGroup{Kind: UsedByDisks}
	made, err := p.MadeFrom()
	if err != nil {
		return images, disks, 0, err
	}
	// An unreadable machine may be of any image.
	used := func(digest string) bool { return len(made[digest])+len(made[""]) > 0 }
	u, err := p.images.Usage(ctx, used)
	if err != nil {
		return images, disks, 0, err
	}
	for _, i := range u.Images {
		item := UsageItem{Name: i.Reference, Users: made[i.Digest], Space: i.Blobs}
		if !used(i.Digest) {
			item.Reclaimable = i.Own
		}
		images.Items = append(images.Items, item)
	}
	for _, i := range []UsageItem{{Name: "blobs that no image needs", Space: u.Nameless}, {Name: "interrupted pulls", Space: u.Parts}} {
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
		disks.add(UsageItem{Name: name, Space: d.Space, Reclaimable: d.Real})
	}
	disks.Count = len(u.Disks)
	return images, disks, unneeded, nil
}

func (p *Provider) machinesUsage() (machines, logs UsageGroup, err error) {
	machines, logs = UsageGroup{Kind: UsedByMachines}, UsageGroup{Kind: UsedByLogs}
	ids, err := p.ids()
	if err != nil {
		return machines, logs, err
	}
	for _, id := range ids {
		b := p.bundle(id)
		item := UsageItem{Name: id}
		if r, err := b.readRecord(); err == nil {
			item.Owner = r.owner().Project
		}
		if info, err := os.Stat(b.path(diskFile)); err == nil {
			item.Space = image.SpaceOf(info)
		}
		machines.add(item)
		for _, l := range filesIn(b.dir, ".log") {
			l.Name = id + "/" + l.Name
			logs.add(l)
		}
	}
	machines.Count, logs.Count = len(machines.Items), len(logs.Items)
	return machines, logs, nil
}

// filesIn lists the files of a folder whose name ends so, but for hidden ones, which are
// locks and the like. A folder that is not there, or not any more, has none.
func filesIn(dir, suffix string) []UsageItem {
	entries, _ := os.ReadDir(dir)
	var items []UsageItem
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && strings.HasSuffix(e.Name(), suffix) && !strings.HasPrefix(e.Name(), ".") {
			items = append(items, UsageItem{Name: e.Name(), Space: image.SpaceOf(info)})
		}
	}
	return items
}
