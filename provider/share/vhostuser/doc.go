// Package vhostuser lets a process of ours be the back-end of a virtio device
// that QEMU shows to its guest.
//
// QEMU connects to a unix socket and hands over the guest's memory and the
// rings; from then on the guest's requests are read from, and answered in,
// shared memory. The package knows rings and memory and nothing of what a
// request means: [Serve] hands each one to [Device.Handle].
//
// It exists because the transport inside go-fuse cannot be used: that one makes
// the kick event, which QEMU shares, a blocking one, so that QEMU hangs when the
// guest resets the device, and it leaves messages unanswered.
//
// Everything in guest memory is hostile. Addresses are checked against the
// memory table, chains have a bound, each field is read once, and a driver that
// breaks the rules loses its ring and nothing else.
//
// Specifications: QEMU's docs/interop/vhost-user.rst for the messages and
// virtio 1.2, section 2.7, for split rings.
package vhostuser
