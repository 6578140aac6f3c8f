// Package hostfs serves a directory of the host to a guest as a FUSE file system.
//
// go-fuse provides the protocol, the inode table and the directory logic. Its loopback
// nodes are not used, because they trust the kernel: they join names to paths, follow
// symbolic links on the host, and pass ioctls on. Here the kernel is the guest's, and may
// be hostile. So openat2 resolves every path inside the directory without following
// symbolic links, every operation uses a descriptor, only regular files and directories are
// ever opened, and there are no ioctls.
//
// The server keeps no descriptor per inode, because a home has more files than a process
// may open. An inode is a name in its directory, as the guest last saw it. The guest sees
// changes by the host within [Timeout].
//
// If the server runs as an ordinary user, that user owns everything that the guest creates.
// If it runs as root, a new file belongs to the guest's user who created it.
package hostfs
