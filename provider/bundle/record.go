package bundle

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/platform"
)

// recordVersion is the format of config.json that this program writes. It reads older formats
// and refuses newer ones.
const recordVersion = 1

// Record is config.json: the fixed properties of a machine. The keys in configuration are
// Apple's.
type Record struct {
	Configuration Configuration `json:"configuration"`
	CreatedDate   time.Time     `json:"createdDate"`
	Stead         Extension     `json:"stead"`
}

// Configuration is the part of a record that Apple's tool also writes.
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

// Image is the image that the machine was created from.
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

// Extension holds the keys that stead adds to Apple's file.
type Extension struct {
	Version    int      `json:"version"`
	WrittenBy  string   `json:"writtenBy"`
	Project    string   `json:"project,omitempty"`
	File       string   `json:"file,omitempty"`
	Env        []string `json:"env,omitempty"`        // the image's environment
	StopSignal string   `json:"stopSignal,omitempty"` // the image's stop signal

	PreventDestroy bool   `json:"preventDestroy,omitempty"` // plans must not lose the disk
	Moving         string `json:"moving,omitempty"`         // the new name during a move; see [Store.Move]
}

// NewerFormError reports a bundle that a newer stead wrote.
type NewerFormError struct {
	Path, WrittenBy string
	Version         int
}

func (e *NewerFormError) Error() string {
	return fmt.Sprintf("%s has format version %d, written by stead %s; this version of stead reads versions up to %d",
		e.Path, e.Version, e.WrittenBy, recordVersion)
}

// Remedy says which version of stead to use.
func (e *NewerFormError) Remedy() string {
	return fmt.Sprintf("use stead %s or newer for this machine", e.WrittenBy)
}

// Record reads config.json. In its older format, it is only the object in configuration.
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
	// The record may be older than the field, or of an image that does not say.
	r.Configuration.Platform = Platform(platform.Platform(r.Configuration.Platform).Or(platform.Host()))
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
	// Unknown keys inside of configuration survive too.
	var old struct {
		Configuration json.RawMessage `json:"configuration"`
	}
	_ = b.ReadJSON(ConfigFile, &old) // a missing or broken file has nothing to keep
	return b.mergeJSON(ConfigFile, struct {
		Configuration json.RawMessage `json:"configuration"`
		CreatedDate   time.Time       `json:"createdDate"`
		Stead         Extension       `json:"stead"`
	}{overlay(old.Configuration, inner), r.CreatedDate, r.Stead})
}

// overlay merges two objects at every depth. If both have a key, the value of over counts.
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

// NewRecord returns the record of a new machine of s, for an image with the given environment
// and stop signal. version is that of stead.
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

// Renamed returns r with another name and without an owner. version is that of stead.
func (r Record) Renamed(id, version string) Record {
	r.Configuration.ID = id
	r.Stead = Extension{Version: recordVersion, WrittenBy: version}
	return r
}

// Owner returns the owner of the machine.
func (r Record) Owner() machine.Owner {
	return machine.Owner{Project: r.Stead.Project, File: r.Stead.File}
}

// Spec returns the spec of the machine with the given settings. Its platform is normalized, so
// that specs can be compared.
func (r Record) Spec(s machine.Settings) machine.Spec {
	c := r.Configuration
	return machine.Spec{
		ID: c.ID, Image: c.Image.Reference, Digest: c.Image.Digest, Platform: platform.Platform(c.Platform).Normal(),
		User:     machine.User{Name: c.UserSetup.Username, UID: c.UserSetup.UID, GID: c.UserSetup.GID},
		Owner:    r.Owner(),
		Settings: s, PreventDestroy: r.Stead.PreventDestroy,
	}
}
