package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// handVM is a machine that a user would build from the same root file system: the
// distribution's kernel and initrd, sshd over QEMU's user network.
type handVM struct {
	b              *bench
	kernel, initrd string
	master, disk   string // disk is a new copy of master for each first boot
	port           int
	shared         string // a directory of the host that virtiofsd shares; empty if none

	server *exec.Cmd // virtiofsd
	qemu   *exec.Cmd
	gone   chan struct{} // closed when QEMU has ended
}

// handNetwork configures QEMU's address: the image has no udev, without which systemd-networkd
// does not configure the interface.
const handNetwork = `[Unit]
DefaultDependencies=no
Before=network.target
Wants=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'ip link set lo up && ip addr add 10.0.2.15/24 dev eth0 && ip link set eth0 up && ip route add default via 10.0.2.2'
[Install]
WantedBy=multi-user.target
`

// prepareHand creates the disk. Its error says why that is not possible.
func (b *bench) prepareHand() (*handVM, error) {
	if os.Getuid() != 0 {
		return nil, errors.New("sshd is installed with chroot, which only root may use")
	}
	initrds, _ := filepath.Glob("/boot/initrd.img-*") // the pattern is valid
	if len(initrds) == 0 {
		return nil, errors.New("the distribution has made no /boot/initrd.img-*")
	}
	release := strings.TrimPrefix(initrds[len(initrds)-1], "/boot/initrd.img-")
	vm := &handVM{
		b: b, kernel: "/boot/vmlinuz-" + release, initrd: "/boot/initrd.img-" + release,
		master: b.path("by-hand.ext4"), disk: b.path("by-hand-booted.ext4"),
	}
	b.say("disk by hand")
	root := b.path("root")
	defer os.RemoveAll(root)
	b.must(os.Mkdir(root, 0o755))
	b.run("tar", "-xpf", b.tar, "--numeric-owner", "-C", root)
	if err := b.installSSHD(root); err != nil {
		return nil, err
	}
	b.run("mkdir", "-p", root+"/lib/modules")
	b.run("cp", "-a", "/lib/modules/"+release, root+"/lib/modules/")
	b.must(os.WriteFile(root+"/etc/systemd/system/card.service", []byte(handNetwork), 0o644))
	b.run("chroot", root, "systemctl", "enable", "--quiet", "card.service")
	b.run("mke2fs", "-q", "-t", "ext4", "-d", root, vm.master, strconv.Itoa(benchDisk>>20)+"M")
	b.t.Cleanup(vm.kill)
	return vm, nil
}

// installSSHD installs sshd and authorizes a key.
func (b *bench) installSSHD(root string) error {
	if err := b.install(root, "openssh-server"); err != nil {
		return err
	}
	b.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", b.path("key"))
	b.must(os.MkdirAll(root+"/root/.ssh", 0o700))
	b.run("cp", b.path("key.pub"), root+"/root/.ssh/authorized_keys")
	return os.WriteFile(root+"/etc/resolv.conf", []byte("nameserver 10.0.2.3\n"), 0o644)
}

// install installs packages from the image's package sources. Of the host's files, the chroot only
// has the resolver's settings.
func (b *bench) install(root string, packages ...string) error {
	b.run("cp", "/etc/resolv.conf", root+"/etc/resolv.conf")
	policy := root + "/usr/sbin/policy-rc.d" // else the host's services might be restarted
	b.must(os.WriteFile(policy, []byte("#!/bin/sh\nexit 101\n"), 0o755))
	wanted := strings.Join(packages, " ")
	if _, err := b.try("chroot", root, "sh", "-c",
		"apt-get -qq update && apt-get -qq install -y --no-install-recommends "+wanted+" && apt-get clean"); err != nil {
		return fmt.Errorf("cannot install %s: %w", wanted, err)
	}
	return os.Remove(policy)
}

// handRound does the same as steadRound with the machine set up by hand.
func (b *bench) handRound(vm *handVM, last bool) {
	b.run("cp", "--sparse=always", vm.master, vm.disk)
	clock := newClock()
	vm.boot()
	b.table.add(rowReady, byHand, clock.seconds())
	b.table.add(rowFirst, byHand, clock.seconds())
	b.systemdRuns(vm.ssh(untilRunning))
	b.table.add(rowRunning, byHand, clock.seconds())
	b.table.add(rowStop, byHand, timed(vm.powerOff))

	clock = newClock()
	vm.boot()
	b.table.add(rowStart, byHand, clock.seconds())
	b.systemdRuns(vm.ssh(untilRunning))
	b.table.add(rowRestarted, byHand, clock.seconds())
	if last {
		for range benchLatencies {
			b.table.add(rowFresh, byHand, 1000*timed(func() { vm.ssh("true") }))
		}
		vm.masterLatency()
		b.table.add(rowQEMU, byHand, b.memory(vm.qemu.Process.Pid, "VmRSS"))
		b.noteSystemd("by hand", vm.ssh("systemd-analyze"))
	}
	vm.powerOff()
}

// boot starts QEMU and returns when the first ssh succeeds.
func (vm *handVM) boot() {
	b := vm.b
	vm.port = freePort(b)
	cpu := "max"
	if b.accel == "kvm" {
		cpu = "host"
	}
	args := []string{
		"-accel", b.accel, "-cpu", cpu, "-smp", strconv.Itoa(benchCPUs), "-m", strconv.Itoa(benchMemory >> 20),
		"-nographic", "-monitor", "none", "-serial", "file:" + b.path("by-hand.log"),
		"-kernel", vm.kernel, "-initrd", vm.initrd,
		"-append", "root=/dev/vda rw console=ttyS0 quiet net.ifnames=0 no_timer_check",
		"-drive", "if=virtio,format=raw,file=" + vm.disk,
		"-netdev", fmt.Sprintf("user,id=n,hostfwd=tcp:127.0.0.1:%d-:22", vm.port), "-device", "virtio-net-pci,netdev=n",
	}
	if vm.shared != "" {
		args = append(args, vm.serveShare()...)
	}
	vm.qemu = exec.CommandContext(b.ctx, "qemu-system-x86_64", args...)
	b.must(vm.qemu.Start())
	vm.gone = make(chan struct{})
	go func() {
		_ = vm.qemu.Wait() // the exit status does not matter
		close(vm.gone)
	}()
	end := time.Now().Add(stepDeadline)
	for ; ; time.Sleep(20 * time.Millisecond) {
		err := vm.readGreeting()
		if err == nil {
			_, err = b.try("ssh", vm.options("true")...)
		}
		if err == nil {
			return
		}
		if time.Now().After(end) {
			b.t.Fatalf("ssh into the machine set up by hand: %v", err)
		}
	}
}

// readGreeting reads sshd's first line. Trying ssh instead would take a second for each failure,
// which would distort the time of the first success.
func (vm *handVM) readGreeting() error {
	conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(vm.port)))
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	_, err = bufio.NewReader(conn).ReadString('\n')
	return err
}

func freePort(b *bench) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	b.must(err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// options returns ssh's arguments for a command, without the user's configuration.
func (vm *handVM) options(args ...string) []string {
	return append([]string{
		"-F", "none", "-i", vm.b.path("key"), "-p", strconv.Itoa(vm.port), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "root@127.0.0.1",
	}, args...)
}

func (vm *handVM) ssh(command string) string { return vm.b.run("ssh", vm.options(command)...) }

// masterLatency times sessions over an existing connection.
func (vm *handVM) masterLatency() {
	b := vm.b
	control := []string{"-o", "ControlPath=" + b.path("control")}
	master := exec.CommandContext(b.ctx, "ssh", append(append([]string{"-M", "-N"}, control...), vm.options()...)...)
	b.must(master.Start())
	defer func() {
		_ = master.Process.Kill()
		_ = master.Wait() // it was killed
	}()
	for end := time.Now().Add(stepDeadline); ; time.Sleep(20 * time.Millisecond) {
		_, err := b.try("ssh", append(append([]string{"-O", "check"}, control...), vm.options()...)...)
		if err == nil {
			break
		}
		if time.Now().After(end) {
			b.t.Fatal(err)
		}
	}
	session := append(control, vm.options("true")...)
	for range benchLatencies {
		b.table.add(rowMaster, byHand, 1000*timed(func() { b.run("ssh", session...) }))
	}
}

// powerOff shuts the machine down from inside and waits until QEMU ends.
func (vm *handVM) powerOff() {
	_, _ = vm.b.try("ssh", vm.options("systemctl poweroff")...) // the connection may break before the answer
	select {
	case <-vm.gone:
	case <-time.After(stepDeadline):
		vm.b.t.Fatal("the machine set up by hand does not power off")
	}
}

func (vm *handVM) kill() {
	if vm.gone == nil {
		return
	}
	_ = vm.qemu.Process.Kill() // it may have ended already
	<-vm.gone
}
