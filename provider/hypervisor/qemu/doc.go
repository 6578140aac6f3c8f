// Package qemu runs machines with QEMU on Linux hosts.
//
// Each machine is one QEMU process that ends with the process that started it: the
// sockets between the two are unnamed pairs, and the kernel kills QEMU and the file
// servers of its shares when their parent dies. So a crash leaves nothing to clean up,
// and the only privilege needed is access to /dev/kvm.
//
// The virtual hardware is the minimum that a distribution's kernel boots on. All of it
// is virtio: every other device adds attack surface, memory and boot time. The agent is
// reached over a virtio-serial port, because many hosts let only root open vsock.
//
// A host can have /dev/kvm and still be unable to run guests. So the driver tests KVM
// once per boot of the host with a small guest. If that fails, machines are emulated
// (TCG) and the user gets a warning.
package qemu
