package provider

// Log is one of the logs that a bundle keeps.
type Log string

// The logs of a machine.
const (
	ConsoleLog    Log = "console.log"    // what kernel and init print
	SupervisorLog Log = "supervisor.log" // what its supervisor did
)

// LogPath is the file of a machine's log; it is missing until there is something in it.
func (p *Provider) LogPath(id string, which Log) (string, error) {
	if !ValidID(id) || !p.bundle(id).exists() {
		return "", &NotFoundError{ID: id}
	}
	return p.bundle(id).path(string(which)), nil
}
