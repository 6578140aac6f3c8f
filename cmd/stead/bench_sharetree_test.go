package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	shareImage = "bench/share:1"
	handNPM    = "/opt/npm/node_modules/npm/bin/npm-cli.js" // in the image
)

// packages are what npm gets: some hundred packages with their dependencies.
const packages = `{"name": "real", "private": true, "dependencies": {"eslint": "9.17.0"}}`

// addTools adds git, and npm if the host has it, to the image of both machines. Its error says why
// that is not possible.
func (b *bench) addTools() error {
	if os.Getuid() != 0 {
		return errors.New("they are installed with chroot, which only root may use")
	}
	b.say("image with git and npm")
	root := b.path("root")
	defer os.RemoveAll(root)
	b.must(os.Mkdir(root, 0o755))
	b.run("tar", "-xpf", b.tar, "--numeric-owner", "-C", root)
	if err := b.install(root, "git", "nodejs"); err != nil {
		return err
	}
	b.must(os.Remove(root + "/etc/resolv.conf"))
	if err := b.fetchPackages(root); err != nil {
		b.note("no figures of npm: %v", err)
	}
	b.run("tar", "-cpf", b.tar, "--numeric-owner", "-C", root, ".")
	p, err := open(b.state)
	b.must(err)
	_, err = p.Images.Import(b.ctx, shareImage, b.tar, nil)
	b.must(err)
	b.declare(shareImage)
	return nil
}

// fetchPackages installs npm in the image, and fills a cache with the packages that the machines
// install from it: they do the same work, without a network.
func (b *bench) fetchPackages(root string) error {
	if _, err := exec.LookPath("npm"); err != nil {
		return errors.New("apt-get install npm")
	}
	quiet := []string{"install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"}
	if _, err := b.try("npm", append(quiet, "--prefix", root+"/opt/npm", "npm@10")...); err != nil {
		return err
	}
	dir := b.path("npm")
	b.must(os.Mkdir(dir, 0o755))
	b.must(os.WriteFile(dir+"/package.json", []byte(packages), 0o644))
	if _, err := b.try("npm", append(quiet, "--prefix", dir, "--cache", dir+"/cache")...); err != nil {
		return err
	}
	b.note("npm: %s files", b.run("sh", "-c", "find npm/node_modules -type f | wc -l"))
	return os.RemoveAll(dir + "/node_modules")
}

// gitStatus measures git in a repository of 10,000 files that the host has made.
func (b *bench) gitStatus(guests []*shareGuest) {
	for _, g := range guests {
		dir := g.host + "/repository"
		makeFiles(b, dir, 100, 100)
		b.run("sh", "-c", fmt.Sprintf("cd %s && git init -q && git add . && git -c user.name=me -c user.email=me@example.com commit -qm all", dir))
		g.root("git -C " + g.dir + "/repository status") // the index gets to know the files as the machine sees them
	}
	b.shareSteps(guests, "repository", []shareStep{
		{rowShareStatus, `git status --porcelain`, true},
		{rowShareStatusAgain, `git status --porcelain`, false},
	})
}

// npmInstall measures the installation of packages from a cache in the share.
func (b *bench) npmInstall(guests []*shareGuest) {
	if _, err := os.Stat(b.path("npm")); err != nil {
		return // a note says why
	}
	for _, g := range guests {
		b.run("cp", "-a", b.path("npm"), g.host)
	}
	b.shareSteps(guests, "npm", []shareStep{
		{rowShareNPM, "node " + handNPM + ` ci --offline --cache cache --ignore-scripts --no-audit --no-fund --no-update-notifier`, true},
		{"", `rm -r node_modules`, false},
	})
}

// walkedMemory measures the file server's memory when the guest has seen 200,000 files, and when
// it has forgotten them.
func (b *bench) walkedMemory(guests []*shareGuest) {
	for _, g := range guests {
		makeFiles(b, g.host+"/walk", 200, 1000)
		before := b.serverMemory(g)
		// virtiofsd holds each file open, and has fewer descriptors than there are files.
		if seen := strings.TrimSpace(g.root("find " + g.dir + `/walk -type f -printf "%s\n" 2>/dev/null | wc -l`)); seen != "200000" {
			b.note("%v: only %s of 200,000 files could be walked over", g.who, seen)
		}
		walked := b.serverMemory(g)
		g.root("echo 3 >/proc/sys/vm/drop_caches")
		forgotten := b.settledMemory(g)
		b.table.add(rowShareIdle, g.who, before)
		b.table.add(rowShareWalked, g.who, walked)
		b.table.add(rowShareForgotten, g.who, forgotten)
	}
}

// makeFiles makes directories with small files, on the host.
func makeFiles(b *bench, dir string, dirs, files int) {
	for d := range dirs {
		sub := filepath.Join(dir, fmt.Sprint(d))
		b.must(os.MkdirAll(sub, 0o755))
		for f := range files {
			b.must(os.WriteFile(filepath.Join(sub, fmt.Sprint(f)), fmt.Appendf(nil, "%d %d", d, f), 0o644))
		}
	}
}

// serverMemory returns the memory of a file server, in MiB, without the guest's memory that it maps.
func (b *bench) serverMemory(g *shareGuest) float64 {
	total := 0.0
	for _, pid := range g.server() {
		total += b.memory(pid, "RssAnon") + b.memory(pid, "RssFile")
	}
	return total
}

// settledMemory waits until the server returns no more memory.
func (b *bench) settledMemory(g *shareGuest) float64 {
	last := b.serverMemory(g)
	for range 12 {
		time.Sleep(5 * time.Second)
		now := b.serverMemory(g)
		if last-now < 1 {
			return now
		}
		last = now
	}
	return last
}
