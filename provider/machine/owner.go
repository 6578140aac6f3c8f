package machine

import "fmt"

// Owner is the project that declared a machine. The zero Owner is the owner of
// machines that belong to no project, such as those of "stead machine create".
type Owner struct {
	Project string // name
	File    string // absolute path of the project file
}

// String describes the owner.
func (o Owner) String() string {
	if o == (Owner{}) {
		return "no project"
	}
	return fmt.Sprintf("project %s (%s)", o.Project, o.File)
}
