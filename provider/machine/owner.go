package machine

import "fmt"

// Owner is the project that declared a machine. The zero Owner is a person, who
// made it by an imperative command.
type Owner struct {
	Project string // name
	File    string // absolute path of the project file
}

// String names the owner for people.
func (o Owner) String() string {
	if o == (Owner{}) {
		return "a person"
	}
	return fmt.Sprintf("project %s (%s)", o.Project, o.File)
}
