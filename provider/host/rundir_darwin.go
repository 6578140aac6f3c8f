package host

// socketsInState is true: macOS and cleaning programs remove files from /tmp that
// look unused, and a machine without its sockets cannot be reached.
const socketsInState = true

// lastingRunDir returns "": macOS has no such directory.
func lastingRunDir() string { return "" }
