package vz

import "github.com/Code-Hex/vz/v3"

// translates is the architecture that Rosetta runs. It is set even if Rosetta is not yet
// installed: [checkRosetta] says how to install it.
const translates = "amd64"

// rosettaState returns whether this Mac has Rosetta for Linux programs.
func rosettaState() rosetta {
	switch vz.LinuxRosettaDirectoryShareAvailability() {
	case vz.LinuxRosettaAvailabilityInstalled:
		return rosettaInstalled
	case vz.LinuxRosettaAvailabilityNotInstalled:
		return rosettaMissing
	default:
		return rosettaUnsupported
	}
}

// rosettaShare returns the share with Rosetta.
func rosettaShare() (vz.DirectoryShare, error) {
	share, err := vz.NewLinuxRosettaDirectoryShare()
	if err != nil {
		return nil, refused("share Rosetta", err)
	}
	return share, nil
}
