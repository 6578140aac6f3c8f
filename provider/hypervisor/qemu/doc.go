// Package qemu runs machines with QEMU on Linux hosts.
//
// One QEMU process is one machine, and it lives no longer than the process that
// started it: sockets between the two are unnamed pairs, and the kernel kills QEMU
// (and the file servers of its shares) when its parent dies. So there is nothing to
// clean up after a crash, and no privilege is needed beyond access to /dev/kvm.
//
// The virtual hardware is the smallest that a distribution's kernel boots on:
// everything is virtio, because every further device is code to attack, memory to
// pay for and time at boot. The agent is reached over a virtio-serial port rather
// than vsock, which unprivileged users of many hosts may not open.
//
// /dev/kvm may exist and still not run guests. So KVM is proven once per host boot by
// a small guest that says hello; where it fails, machines are emulated (TCG) and the
// user is told so.
package qemu
