package reconcile

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/stead-vm/stead/provider/machine"
)

// savedVersion is the form of saved plans. They are for the same program a little later,
// so that another form is refused and not translated.
const savedVersion = 1

// SavedPlan is a plan that was made earlier: all that it was made of, except for the host,
// and what came out.
type SavedPlan struct {
	Version   int
	Situation Situation // without Have and Applied
	Changes   []Change
}

// Save encodes a plan and what it was made of.
func Save(s Situation, p Plan) ([]byte, error) {
	s.Have, s.Applied = nil, nil
	return json.MarshalIndent(SavedPlan{Version: savedVersion, Situation: s, Changes: p.Changes}, "", "  ")
}

// LoadSaved decodes what [Save] encoded. The name is for messages.
func LoadSaved(name string, data []byte) (*SavedPlan, error) {
	var s SavedPlan
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("%s is no saved plan: %w", name, err)
	}
	if s.Version != savedVersion || s.Situation.Owner.File == "" {
		return nil, fmt.Errorf("%s is no plan that this program can apply: make it again with \"stead plan -o\"", name)
	}
	return &s, nil
}

// StaleError reports a saved plan that is not what would be planned now.
type StaleError struct{ IDs []string }

func (e *StaleError) Error() string {
	return fmt.Sprintf("the saved plan is stale: since it was made something has changed about machine %s", strings.Join(e.IDs, ", "))
}

// Remedy says how to go on.
func (e *StaleError) Remedy() string {
	return "nothing was changed: make the plan again with \"stead plan -o\", and look at it"
}

// Fresh plans again for the host as it is now. A [*StaleError] says that something else
// came out than what was saved.
func (s *SavedPlan) Fresh(have []machine.Machine, applied map[string]machine.Baseline) (Plan, error) {
	now := s.Situation
	now.Have, now.Applied = have, applied
	plan, err := Diff(now)
	if err != nil {
		return Plan{}, errors.Join(&StaleError{IDs: changedIDs(s.Changes, nil)}, err)
	}
	if ids := changedIDs(s.Changes, plan.Changes); len(ids) > 0 {
		return Plan{}, &StaleError{IDs: ids}
	}
	return plan, nil
}

// Outdated are the machines which the plan, or the part of one, would change and which
// now, a later plan, would not change in the same way.
func (p Plan) Outdated(now Plan) []string {
	var ids []string
	for _, c := range p.Changes {
		i := slices.IndexFunc(now.Changes, func(n Change) bool { return n.ID == c.ID })
		if c.Action != None && (i < 0 || !reflect.DeepEqual(c.essence(), now.Changes[i].essence())) {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

// changedIDs are the machines about which two plans differ.
func changedIDs(before, now []Change) []string {
	then, differ := map[string]essence{}, map[string]bool{}
	for _, c := range before {
		then[c.ID] = c.essence()
		differ[c.ID] = true
	}
	for _, c := range now {
		differ[c.ID] = !reflect.DeepEqual(then[c.ID], c.essence())
	}
	var ids []string
	for _, id := range sortedKeys(differ) {
		if differ[id] {
			ids = append(ids, id)
		}
	}
	return ids
}

// essence is what a person has looked at and approved: not how full a disk is.
type essence struct {
	Action  Action
	Attrs   []AttrChange
	From    string
	Stopped bool
	Have    bool
	Of      string // digest of the machine that is there
	Created string // when it was made
}

func (c *Change) essence() essence {
	e := essence{Action: c.Action, Attrs: c.Attrs, From: c.From, Stopped: c.Stopped}
	if len(e.Attrs) == 0 {
		e.Attrs = nil // as it is after being decoded
	}
	if c.Have != nil {
		e.Have, e.Of, e.Created = true, c.Have.Digest, c.Have.Created.UTC().String()
	}
	return e
}
