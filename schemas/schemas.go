// Package schemas holds the JSON Schemas of the files and outputs that stead shares with
// editors, scripts and other programs.
package schemas

import _ "embed"

//go:embed boot-config.schema.json
var bootConfig []byte

// BootConfig is the JSON Schema (2020-12) of a machine's boot-config.json: the
// five keys of Apple's container machine, and stead's own keys. A missing key has its default.
func BootConfig() []byte { return append([]byte(nil), bootConfig...) }

//go:embed df.schema.json
var df []byte

// DF is the JSON Schema (2020-12) of what `stead df --format json` prints.
func DF() []byte { return append([]byte(nil), df...) }

//go:embed doctor.schema.json
var doctor []byte

// Doctor is the JSON Schema (2020-12) of what `stead doctor --json` prints.
func Doctor() []byte { return append([]byte(nil), doctor...) }

//go:embed events.schema.json
var events []byte

// Events is the JSON Schema (2020-12) of a line that plan, apply and destroy print with
// --json.
func Events() []byte { return append([]byte(nil), events...) }
