// Package size parses and prints amounts of bytes for all of stead.
//
// People see two forms: a setting as machines.hcl writes it ("8G"), and a measured
// amount rounded to one decimal ("1.2 GiB"). Units are binary in both.
package size

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-units"
)

// Units, in bytes.
const (
	MiB int64 = units.MiB
	GiB int64 = units.GiB
)

// form is the text of a size. Apple's `container machine` reads the same.
var form = regexp.MustCompile(`(?i)^([0-9]+) ?(?:([kmgtp])i?b?|b)?$`)

// ErrTooLarge is in the error of [Parse] for a size that no file system can have.
var ErrTooLarge = errors.New("is larger than 8191P")

// Parse reads a whole number and a unit: b, k, kb, kib, … p, pb, pib, in upper or lower
// case, always binary. A number without a unit is bytes.
func Parse(text string) (int64, error) {
	parts := form.FindStringSubmatch(strings.TrimSpace(text))
	if parts == nil {
		return 0, fmt.Errorf("%q is not a size: write a whole number and a unit, such as 4G or 512M", text)
	}
	shift := 10 * slices.Index(letters[:], strings.ToUpper(parts[2]))
	n, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil || n > math.MaxInt64>>shift {
		return 0, fmt.Errorf("%q %w", text, ErrTooLarge)
	}
	return n << shift, nil
}

// letters are the units of settings, each 1024 times the one before.
var letters = [...]string{"", "K", "M", "G", "T", "P"}

// Setting prints n in the largest unit that leaves no remainder, as machines.hcl writes
// it: "8G", "1536M". [Parse] reads it back.
func Setting(n int64) string {
	unit := 0
	for n != 0 && n%1024 == 0 && unit < len(letters)-1 {
		n /= 1024
		unit++
	}
	return strconv.FormatInt(n, 10) + letters[unit]
}

// Measured prints n rounded for people: "512 B", "1.2 GiB".
func Measured(n int64) string {
	if n > -1024 && n < 1024 {
		return strconv.FormatInt(n, 10) + " B"
	}
	return units.CustomSize("%.1f %s", float64(n), 1024, []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"})
}
