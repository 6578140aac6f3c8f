// Package vhostuser implements the back-end of a virtio device that QEMU offers to its
// guest.
//
// QEMU connects to a Unix socket and passes the guest's memory and the rings. From then on,
// the guest's requests are read from shared memory and answered there. The package handles
// rings and memory, but does not interpret requests: [Serve] passes each one to
// [Device.Handle].
//
// go-fuse's own transport cannot be used: it makes the kick event blocking, which QEMU
// shares, so that QEMU hangs when the guest resets the device. It also does not answer all
// messages.
//
// Guest memory is not trusted. Addresses are checked against the memory table, the length of
// chains is bounded, each field is read once, and a driver that breaks the rules loses only
// its ring.
//
// Specifications: QEMU's docs/interop/vhost-user.rst for the messages and
// virtio 1.2, section 2.7, for split rings.
package vhostuser
