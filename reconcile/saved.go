package reconcile

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/stead-vm/stead/provider/machine"
)

// savedVersion is the version of the format of saved plans. Plans are short-lived, so other
// versions are refused, not converted.
const savedVersion = 2

// SavedPlan is a saved plan: what it was made from, except for the state of the host, and
// the resulting changes.
type SavedPlan struct {
	Version   int
	Situation Situation // without Have and Applied
	Changes   []Change
}

// Save encodes a plan and the situation that it was made from.
func Save(s Situation, p Plan) ([]byte, error) {
	s.Have, s.Applied = nil, nil
	return json.MarshalIndent(SavedPlan{Version: savedVersion, Situation: s, Changes: p.Changes}, "", "  ")
}

// LoadSaved decodes a plan that [Save] encoded. The name is for errors.
func LoadSaved(name string, data []byte) (*SavedPlan, error) {
	var s SavedPlan
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("%s is not a saved plan: %w", name, err)
	}
	if s.Version != savedVersion || s.Situation.Owner.File == "" {
		return nil, fmt.Errorf("%s is not a plan that this version of stead can apply: make a new one with \"stead plan -o\"", name)
	}
	return &s, nil
}

// StaleError reports a saved plan that differs from a plan made now.
type StaleError struct{ IDs []string }

func (e *StaleError) Error() string {
	return fmt.Sprintf("the saved plan is stale: %s changed since the plan was made", machineNames(e.IDs))
}

// Remedy says how to go on.
func (e *StaleError) Remedy() string {
	return "make a new plan with \"stead plan -o\" and review it; nothing was changed"
}

// Fresh plans again for the current state of the host. It returns a [*StaleError] if the
// new plan differs from the saved one.
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

// Outdated returns the IDs of the machines that p would change and that now, a later plan,
// does not change in the same way. p may be a part of a plan.
func (p Plan) Outdated(now Plan) []string {
	var ids []string
	for _, c := range p.Changes {
		i := slices.IndexFunc(now.Changes, func(n Change) bool { return n.ID == c.ID })
		if c.Action != None && (i < 0 || !reflect.DeepEqual(c.key(), now.Changes[i].key())) {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

// changedIDs returns the IDs of the machines for which two plans differ.
func changedIDs(before, now []Change) []string {
	then, differ := map[string]changeKey{}, map[string]bool{}
	for _, c := range before {
		then[c.ID] = c.key()
		differ[c.ID] = true
	}
	for _, c := range now {
		differ[c.ID] = !reflect.DeepEqual(then[c.ID], c.key())
	}
	var ids []string
	for _, id := range sortedKeys(differ) {
		if differ[id] {
			ids = append(ids, id)
		}
	}
	return ids
}

// changeKey holds what two equal changes have in common. Disk usage is left out, because it
// changes all the time.
type changeKey struct {
	Action  Action
	Attrs   []AttrChange
	From    string
	Stopped bool
	Have    bool
	Of      string // digest of the existing machine
	Created string // when the existing machine was created
}

func (c *Change) key() changeKey {
	e := changeKey{Action: c.Action, Attrs: c.Attrs, From: c.From, Stopped: c.Stopped}
	if len(e.Attrs) == 0 {
		e.Attrs = nil // as after decoding
	}
	if c.Have != nil {
		e.Have, e.Of, e.Created = true, c.Have.Digest, c.Have.Created.UTC().String()
	}
	return e
}
