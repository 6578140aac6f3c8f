package vz

import "github.com/Code-Hex/vz/v3"

// translates is the architecture that Rosetta is for, also where it is to be installed
// yet: [checkRosetta] says how.
const translates = "amd64"

// rosettaHere asks whether this Mac has Rosetta for Linux programs.
func rosettaHere() rosetta {
	switch vz.LinuxRosettaDirectoryShareAvailability() {
	case vz.LinuxRosettaAvailabilityInstalled:
		return rosettaInstalled
	case vz.LinuxRosettaAvailabilityNotInstalled:
		return rosettaMissing
	default:
		return rosettaUnsupported
	}
}

// rosettaShare is the folder with the translator.
func rosettaShare() (vz.DirectoryShare, error) {
	share, err := vz.NewLinuxRosettaDirectoryShare()
	if err != nil {
		return nil, refused("share Rosetta", err)
	}
	return share, nil
}
