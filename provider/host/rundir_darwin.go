package host

// socketsInState is true: macOS and its cleaning programs remove from /tmp what looks
// unused, and a machine without its sockets can be reached by nobody.
const socketsInState = true
