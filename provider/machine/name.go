package machine

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// validID is Apple's rule for machine names, which are DNS labels too.
var validID = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

// ValidID reports whether id can name a machine: a DNS label of at most 63 bytes.
func ValidID(id string) bool { return len(id) <= 63 && validID.MatchString(id) }

// NameFor returns the name of a machine that is created from an image without a name: the
// image's last path element, a dash and the tag (Apple's rule), made valid.
func NameFor(reference string) (string, error) {
	reference, _, _ = strings.Cut(reference, "@")
	last := reference[strings.LastIndex(reference, "/")+1:]
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(last))
	name = strings.Trim(name, "-")
	if !ValidID(name) {
		return "", errors.New("image " + reference + " does not give a machine name: set one with --name")
	}
	return name, nil
}

// InvalidIDError reports a name that no machine can have.
type InvalidIDError struct{ ID string }

func (e *InvalidIDError) Error() string { return fmt.Sprintf("%q is not a valid machine name", e.ID) }

// Remedy says which names are allowed.
func (e *InvalidIDError) Remedy() string {
	return "use at most 63 lower-case letters, digits and dashes; the name must start and end with a letter or digit"
}

// NotFoundError reports a machine that does not exist.
type NotFoundError struct{ ID string }

func (e *NotFoundError) Error() string { return fmt.Sprintf("machine %q not found", e.ID) }

// Remedy says how to see which machines exist.
func (e *NotFoundError) Remedy() string { return `run "stead ls" to list the machines of this host` }

// ExistsError reports that a machine of that name already exists.
type ExistsError struct{ ID string }

func (e *ExistsError) Error() string { return fmt.Sprintf("machine %q already exists", e.ID) }

// Remedy says what to do about it.
func (e *ExistsError) Remedy() string {
	return fmt.Sprintf(`choose another name, or remove it and its disk with "stead rm %s"`, e.ID)
}

// RunningError reports a machine that must be stopped first.
type RunningError struct{ ID string }

func (e *RunningError) Error() string { return fmt.Sprintf("machine %q is running", e.ID) }

// Remedy says how to stop it.
func (e *RunningError) Remedy() string { return fmt.Sprintf(`run "stead stop %s" to stop it`, e.ID) }

// OwnedError reports a machine of a project that still exists.
type OwnedError struct {
	ID    string
	Owner Owner
}

func (e *OwnedError) Error() string {
	return fmt.Sprintf("machine %q belongs to project %q (%s)", e.ID, e.Owner.Project, e.Owner.File)
}

// Remedy says how to take the machine anyway.
func (e *OwnedError) Remedy() string {
	return fmt.Sprintf(`if that project no longer needs it, remove it from its file and run "stead adopt --force %s"`, e.ID)
}
