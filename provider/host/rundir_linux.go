package host

// socketsInState is false: systemd-tmpfiles keeps sockets in use when it cleans /tmp, and
// the state directory may be on a file system without sockets.
const socketsInState = false
