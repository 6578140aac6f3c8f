package bundle

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/platform"
)

// recordVersion is the form of config.json that this program writes. Files of an
// older form load; a newer one is refused.
const recordVersion = 1

// Record is config.json: what a machine is. The keys of configuration are Apple's.
type Record struct {
	Configuration Configuration `json:"configuration"`
	CreatedDate   time.Time     `json:"createdDate"`
	Stead         Extension     `json:"stead"`
}

// Configuration is the part of a record that Apple's tool has too.
type Configuration struct {
	ID        string   `json:"id"`
	Image     Image    `json:"image"`
	Platform  Platform `json:"platform"`
	UserSetup User     `json:"userSetup"`
}

// Platform is the platform of the machine's image.
type Platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant,omitempty"`
}

// Image is what the machine was made from.
type Image struct {
	Digest    string `json:"digest"`
	Reference string `json:"reference"`
}

// User is the machine's user.
type User struct {
	Username string `json:"username"`
	UID      int    `json:"uid"`
	GID      int    `json:"gid"`
}

// Extension is what stead records beyond Apple's file.
type Extension struct {
	Version    int      `json:"version"`
	WrittenBy  string   `json:"writtenBy"`
	Project    string   `json:"project,omitempty"`
	File       string   `json:"file,omitempty"`
	Env        []string `json:"env,omitempty"`        // the image's environment
	StopSignal string   `json:"stopSignal,omitempty"` // the image's

	PreventDestroy bool   `json:"preventDestroy,omitempty"` // a plan must not lose its disk
	Moving         string `json:"moving,omitempty"`         // the name that it is being given; see Store.Rename
}

// NewerFormError reports a bundle that a newer stead wrote.
type NewerFormError struct {
	Path, WrittenBy string
	Version         int
}

func (e *NewerFormError) Error() string {
	return fmt.Sprintf("%s has form %d, written by stead %s; this stead reads forms up to %d",
		e.Path, e.Version, e.WrittenBy, recordVersion)
}

// Remedy says which program to use.
func (e *NewerFormError) Remedy() string {
	return fmt.Sprintf("use stead %s or newer for this machine", e.WrittenBy)
}

// Record reads config.json, also in the older form that is the inner object alone.
func (b Bundle) Record() (Record, error) {
	var r Record
	if err := b.ReadJSON(ConfigFile, &r); err != nil {
		return Record{}, err
	}
	if r.Stead.Version > recordVersion {
		return Record{}, &NewerFormError{Path: b.Path(ConfigFile), WrittenBy: r.Stead.WrittenBy, Version: r.Stead.Version}
	}
	if r.Configuration.ID == "" {
		if err := b.ReadJSON(ConfigFile, &r.Configuration); err != nil {
			return Record{}, err
		}
	}
	if r.Configuration.ID == "" {
		return Record{}, fmt.Errorf("%s: the machine id is missing", b.Path(ConfigFile))
	}
	if r.Configuration.Platform == (Platform{}) { // older than the field
		r.Configuration.Platform = Platform(platform.Host())
	}
	if r.Stead.Moving == filepath.Base(b.Dir) {
		r.Configuration.ID = r.Stead.Moving
	}
	return r, nil
}

// WriteRecord writes config.json. Keys that stead does not know survive.
func (b Bundle) WriteRecord(r Record) error {
	inner, err := json.Marshal(r.Configuration)
	if err != nil {
		return err
	}
	// Keys that we do not know survive inside configuration too.
	var old struct {
		Configuration json.RawMessage `json:"configuration"`
	}
	_ = b.ReadJSON(ConfigFile, &old) // a file that is not there yet, or broken, has nothing to keep
	return b.mergeJSON(ConfigFile, struct {
		Configuration json.RawMessage `json:"configuration"`
		CreatedDate   time.Time       `json:"createdDate"`
		Stead         Extension       `json:"stead"`
	}{overlay(old.Configuration, inner), r.CreatedDate, r.Stead})
}

// overlay returns an object with the keys of both, at every depth. Where both have a key
// it has the value of over.
func overlay(under, over json.RawMessage) json.RawMessage {
	var lower, upper map[string]json.RawMessage
	if json.Unmarshal(under, &lower) != nil || json.Unmarshal(over, &upper) != nil || lower == nil || upper == nil {
		return over
	}
	for key, value := range upper {
		lower[key] = overlay(lower[key], value)
	}
	merged, err := json.Marshal(lower)
	if err != nil {
		return over
	}
	return merged
}

// NewRecord describes a machine of s that is made now, from an image with that digest,
// environment and stop signal, by stead of that version.
func NewRecord(s machine.Spec, env []string, stopSignal, version string) Record {
	return Record{
		Configuration: Configuration{
			ID:        s.ID,
			Image:     Image{Digest: s.Digest, Reference: s.Image},
			Platform:  Platform(s.Platform),
			UserSetup: User{Username: s.User.Name, UID: s.User.UID, GID: s.User.GID},
		},
		CreatedDate: time.Now().UTC().Truncate(time.Second),
		Stead: Extension{
			Version: recordVersion, WrittenBy: version,
			Project: s.Owner.Project, File: s.Owner.File,
			Env: env, StopSignal: stopSignal,
			PreventDestroy: s.PreventDestroy,
		},
	}
}

// Renamed returns r under another name, without an owner, as written by stead of that
// version.
func (r Record) Renamed(id, version string) Record {
	r.Configuration.ID = id
	r.Stead = Extension{Version: recordVersion, WrittenBy: version}
	return r
}

// Owner returns whose machine it is.
func (r Record) Owner() machine.Owner {
	return machine.Owner{Project: r.Stead.Project, File: r.Stead.File}
}

// Spec returns the machine that the record and its settings describe. Its platform is
// normal, so that machines can be compared.
func (r Record) Spec(s machine.Settings) machine.Spec {
	c := r.Configuration
	return machine.Spec{
		ID: c.ID, Image: c.Image.Reference, Digest: c.Image.Digest, Platform: platform.Platform(c.Platform).Normal(),
		User:     machine.User{Name: c.UserSetup.Username, UID: c.UserSetup.UID, GID: c.UserSetup.GID},
		Owner:    r.Owner(),
		Settings: s, PreventDestroy: r.Stead.PreventDestroy,
	}
}
