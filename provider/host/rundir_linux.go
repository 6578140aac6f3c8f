package host

// socketsInState is false: what cleans /tmp here (systemd-tmpfiles) spares living sockets,
// and a state folder may lie on what has none.
const socketsInState = false
