package integration_test

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"

	"salliefs/integration/mounttest"
)

// helperVar tells this test binary to be one of the programs of helpers below
// instead of running tests: what several processes do at once needs processes.
const helperVar = "SALLIEFS_TEST_HELPER"

var helpers = map[string]func(args []string) error{
	"worker":      worker,
	"mapper":      mapper,
	"holdtmp":     holdOpen,
	"killworking": killWorking,
	"filler":      filler,
	"stresser":    stresser,
}

func TestMain(m *testing.M) {
	if name := os.Getenv(helperVar); name != "" {
		if err := helpers[name](os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	set := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { set[f.Name] = true })
	for name, value := range map[string]string{
		"rapid.checks":     strconv.Itoa(mounttest.Scale(100, 3000)),
		"rapid.steps":      strconv.Itoa(mounttest.Scale(100, 200)),
		"rapid.nofailfile": "true",
	} {
		if !set[name] {
			flag.Set(name, value)
		}
	}
	os.Exit(mounttest.Main(m))
}
