package vz

import "github.com/Code-Hex/vz/v3"

const translates = ""

// rosettaState returns rosettaUnsupported: an Intel Mac needs no Rosetta for amd64.
func rosettaState() rosetta { return rosettaUnsupported }

func rosettaShare() (vz.DirectoryShare, error) { return nil, &RosettaError{} }
