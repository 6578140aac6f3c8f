// Package hostfs shows a folder of the host to a guest as a FUSE file system.
//
// go-fuse brings the protocol, the inode table and the directory logic. Its own
// loopback nodes are not used, because they trust the kernel that asks: they
// join names to paths, follow symbolic links on the host, and pass ioctls on.
// Here the kernel is the guest's, and may be hostile. So every path is resolved
// beneath the folder by openat2 with no symbolic link followed, every operation
// goes by a descriptor, only regular files and folders are ever opened, and
// there are no ioctls.
//
// No descriptor is kept per inode (a home has more files than a process may
// open): an inode is a name in its folder, as the guest last saw it. What the
// host changes beneath is noticed within [Timeout].
//
// An ordinary user's server owns all that the guest makes, whoever makes it
// there. A server run by root gives a new file to the guest's user who made it.
package hostfs
