package vz

import "github.com/Code-Hex/vz/v3"

const translates = ""

// rosettaHere is what Intel Macs have: their own processor runs programs for amd64.
func rosettaHere() rosetta { return rosettaUnsupported }

func rosettaShare() (vz.DirectoryShare, error) { return nil, &RosettaError{} }
