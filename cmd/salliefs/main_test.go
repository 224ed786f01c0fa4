package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"salliefs":            main,
		"mount.fuse.salliefs": main,
	})
}

func TestScripts(t *testing.T) {
	whyNot := mountable()
	if whyNot != "" {
		t.Log("scripts skip what mounts:", whyNot)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Setup:               setup,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "fuse":
				return whyNot == "", nil
			case "root":
				return os.Geteuid() == 0, nil
			case "device":
				return canMakeDevice(t.TempDir()), nil
			}
			return false, errUnknownCondition
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":   cmdExits,
			"shape":   cmdShape,
			"signal":  cmdSignal,
			"ended":   cmdEnded,
			"hold":    cmdHold,
			"release": cmdRelease,
			"damage":  cmdDamage,
			"secret":  cmdSecret,
			"blob":    cmdBlob,
			"newer":   cmdNewer,
			"mounted": cmdMounted,
			"logged":  cmdLogged,
		},
	})
}
