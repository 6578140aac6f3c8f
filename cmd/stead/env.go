package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"unicode"

	"github.com/stead-vm/stead/provider/printable"
	"github.com/stead-vm/stead/provider/regular"
	"github.com/stead-vm/stead/provider/size"
)

const (
	// maxEnvFile bounds the file of --env-file, in bytes. Linux passes at most 6 MiB to a program.
	maxEnvFile = 8 * size.MiB
	// maxVariable bounds a variable with its name, in bytes: MAX_ARG_STRLEN in the kernel's
	// uapi/linux/binfmts.h, without the final NUL.
	maxVariable = 128<<10 - 1
)

// variables returns what --env-file and --env set. A later one replaces an earlier one.
func (o runOptions) variables() (map[string]string, error) {
	env := map[string]string{}
	if o.envFile != "" {
		if err := readEnvFile(o.envFile, env); err != nil {
			return nil, err
		}
	}
	for _, text := range o.env {
		if err := setVariable(env, text); err != nil {
			return nil, fmt.Errorf("--env: %w", err)
		}
	}
	return env, nil
}

// readEnvFile reads variables as "docker run --env-file" does: one KEY=VALUE a line, or KEY alone
// for the host's value. Lines that begin with # are comments. Quotes and blanks are part of a
// value; blanks before a name are not part of it.
func readEnvFile(path string, env map[string]string) error {
	raw, err := regular.ReadFile(path, maxEnvFile)
	if err != nil {
		return err
	}
	text, err := printable.UTF8(raw)
	var encoding *printable.EncodingError
	if errors.As(err, &encoding) {
		return fmt.Errorf("%s:%d: %w", path, 1+strings.Count(string(raw[:encoding.Offset]), "\n"), err)
	}
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimLeftFunc(strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), unicode.IsSpace)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := setVariable(env, line); err != nil {
			return fmt.Errorf("%s:%d: %w", path, number, err)
		}
	}
	return nil
}

// setVariable sets a variable from KEY=VALUE, or from the host's environment if there is only KEY
// and the host has it. Its errors do not show values, which may be secrets.
func setVariable(env map[string]string, text string) error {
	name, value, ok := strings.Cut(text, "=")
	if err := checkVariable(name); err != nil {
		return err
	}
	if !ok {
		if value, ok = os.LookupEnv(name); !ok {
			return nil
		}
	}
	switch n := len(name) + len("=") + len(value); {
	case strings.Contains(value, "\x00"):
		return fmt.Errorf("the value of %s contains a NUL (U+0000), which no variable can hold", name)
	case n > maxVariable:
		return fmt.Errorf("%s has %d bytes with its value; Linux allows %d", name, n, maxVariable)
	}
	env[name] = value
	return nil
}

// checkVariable refuses names that shells and programs cannot use, and those that direct the session.
func checkVariable(name string) error {
	bad := strings.IndexFunc(name, func(r rune) bool { return unicode.IsSpace(r) || printable.Hidden(r) })
	switch {
	case name == "":
		return errors.New("there is no name before the equals sign: write KEY=VALUE")
	case bad >= 0:
		r := []rune(name[bad:])[0]
		return fmt.Errorf("the name %q contains a blank or invisible character (%U): write KEY=VALUE, without blanks around the equals sign", name, r)
	case name[0] >= '0' && name[0] <= '9':
		return fmt.Errorf("the name %q begins with a digit", name)
	case strings.HasPrefix(name, "STEAD_"):
		return fmt.Errorf("the name %s is reserved: names must not start with STEAD_", name)
	}
	return nil
}
