package local_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"testing"

	"github.com/stead-vm/stead/provider/local"
)

// applyEnv names a file with an errand, which makes the test binary plan and apply it.
const applyEnv = "STEAD_TEST_APPLY"

// The test binary also runs as the other processes of the tests.
func TestMain(m *testing.M) {
	role := m.Run
	switch {
	case os.Getenv(local.FetcherEnv) != "":
		role = exitCode(func() error { return local.FetchKernel(os.Getenv(local.FetcherEnv)) })
	case len(os.Args) > 2 && os.Args[1] == "supervise":
		role = exitCode(func() error { return supervise(os.Args[len(os.Args)-1]) })
	case len(os.Args) > 1 && os.Args[1] == "serve-share":
		role = exitCode(func() error { return serveShare(os.Args[2:]) })
	case os.Getenv(applyEnv) != "":
		role = exitCode(func() error { return applyErrand(os.Getenv(applyEnv)) })
	}
	os.Exit(role())
}

func exitCode(f func() error) func() int {
	return func() int {
		if err := f(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
}

// supervise runs a supervisor whose hypervisor is in this process.
func supervise(id string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	started := os.NewFile(local.ReportFD, "report")
	p, err := open(os.Getenv("STEAD_HOME"))
	if err != nil {
		local.ReportFailure(started, err)
		return err
	}
	return p.Supervise(ctx, id, started)
}

// open returns a provider with real bundles and supervisors, and fake machines.
func open(home string) (*local.Provider, error) {
	return local.NewWith(local.Options{Home: home, Exe: os.Args[0], Version: "test"}, newHypervisor())
}
