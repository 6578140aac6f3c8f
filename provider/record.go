package provider

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/stead-vm/stead/provider/image"
)

// recordVersion is the form of config.json that this program writes. Files of an
// older form load; a newer one is refused.
const recordVersion = 1

// record is config.json: what a machine is. The keys of configuration are Apple's.
type record struct {
	Configuration recordConfiguration `json:"configuration"`
	CreatedDate   time.Time           `json:"createdDate"`
	Stead         recordStead         `json:"stead"`
}

type recordConfiguration struct {
	ID        string         `json:"id"`
	Image     recordImage    `json:"image"`
	Platform  recordPlatform `json:"platform"`
	UserSetup recordUser     `json:"userSetup"`
}

type recordPlatform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant,omitempty"`
}

// String is the platform as machines are compared: all 64-bit ARM processors are v8, which
// not every image writes down.
func (p recordPlatform) String() string {
	if p.Architecture == "arm64" && p.Variant == "v8" {
		p.Variant = ""
	}
	return image.Platform(p).String()
}

type recordImage struct {
	Digest    string `json:"digest"`
	Reference string `json:"reference"`
}

type recordUser struct {
	Username string `json:"username"`
	UID      int    `json:"uid"`
	GID      int    `json:"gid"`
}

// recordStead is what we know beyond Apple's file.
type recordStead struct {
	Version    int      `json:"version"`
	WrittenBy  string   `json:"writtenBy"`
	Project    string   `json:"project,omitempty"`
	File       string   `json:"file,omitempty"`
	Env        []string `json:"env,omitempty"`        // the image's environment
	StopSignal string   `json:"stopSignal,omitempty"` // the image's

	PreventDestroy bool   `json:"preventDestroy,omitempty"` // the project wants its disk to outlast plans
	Moving         string `json:"moving,omitempty"`         // the name that it is being given; see Provider.Move
}

// NewerFormError reports a bundle that a newer stead wrote.
type NewerFormError struct {
	Path, WrittenBy string
	Version         int
}

func (e *NewerFormError) Error() string {
	return fmt.Sprintf("%s has form %d, written by stead %s; this program knows forms up to %d",
		e.Path, e.Version, e.WrittenBy, recordVersion)
}

// Remedy says which program to use.
func (e *NewerFormError) Remedy() string {
	return fmt.Sprintf("use stead %s or newer for this machine", e.WrittenBy)
}

// readRecord reads config.json, also in the older form that is the inner object alone.
func (b bundle) readRecord() (record, error) {
	var r record
	if err := b.readJSON(configFile, &r); err != nil {
		return record{}, err
	}
	if r.Stead.Version > recordVersion {
		return record{}, &NewerFormError{Path: b.path(configFile), WrittenBy: r.Stead.WrittenBy, Version: r.Stead.Version}
	}
	if r.Configuration.ID == "" {
		if err := b.readJSON(configFile, &r.Configuration); err != nil {
			return record{}, err
		}
	}
	if r.Configuration.ID == "" {
		return record{}, fmt.Errorf("%s: no machine id in it", b.path(configFile))
	}
	if r.Configuration.Platform == (recordPlatform{}) { // older than the field
		r.Configuration.Platform = recordPlatform(image.HostPlatform())
	}
	if r.Stead.Moving == filepath.Base(b.dir) {
		r.Configuration.ID = r.Stead.Moving
	}
	return r, nil
}

func (b bundle) writeRecord(r record) error {
	inner, err := json.Marshal(r.Configuration)
	if err != nil {
		return err
	}
	// Keys that we do not know survive inside configuration too.
	var old struct {
		Configuration json.RawMessage `json:"configuration"`
	}
	_ = b.readJSON(configFile, &old) // a file that is not there yet, or broken, has nothing to keep
	return b.mergeJSON(configFile, struct {
		Configuration json.RawMessage `json:"configuration"`
		CreatedDate   time.Time       `json:"createdDate"`
		Stead         recordStead     `json:"stead"`
	}{overlay(old.Configuration, inner), r.CreatedDate, r.Stead})
}

// overlay is an object with the keys of both, however deep; where both have one, it has
// the value of over.
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

func newRecord(s Spec, img image.Image, version string) record {
	return record{
		Configuration: recordConfiguration{
			ID:        s.ID,
			Image:     recordImage{Digest: img.Digest, Reference: s.Image},
			Platform:  recordPlatform(img.Platform),
			UserSetup: recordUser{Username: s.User.Name, UID: s.User.UID, GID: s.User.GID},
		},
		CreatedDate: time.Now().UTC().Truncate(time.Second),
		Stead: recordStead{
			Version: recordVersion, WrittenBy: version,
			Project: s.Owner.Project, File: s.Owner.File,
			Env: img.Config.Env, StopSignal: img.Config.StopSignal,
			PreventDestroy: s.PreventDestroy,
		},
	}
}

func (r record) owner() Owner { return Owner{Project: r.Stead.Project, File: r.Stead.File} }

// spec is the machine that the record and its settings describe.
func (r record) spec(s Settings) Spec {
	c := r.Configuration
	return Spec{
		ID: c.ID, Image: c.Image.Reference, Digest: c.Image.Digest, Platform: c.Platform.String(),
		User:     User{Name: c.UserSetup.Username, UID: c.UserSetup.UID, GID: c.UserSetup.GID},
		Owner:    r.owner(),
		Settings: s, PreventDestroy: r.Stead.PreventDestroy,
	}
}

// NameFor is the name of a machine made from an image without a name: the image's
// last path element, a dash and the tag (Apple's rule), made valid.
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
		return "", errors.New("no machine name follows from image " + reference + ": give one with --name")
	}
	return name, nil
}
