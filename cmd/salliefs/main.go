// Command salliefs makes, mounts and looks after encrypted stores. CLI.md describes it.
//
// A command is parse → call one library function → print. What is not that lives in the packages below internal, and in
// fs/control for what works on an open store.
//
//	main.go       the process
//	app.go        the application: commands, context, errors
//	exit.go       the table of exit codes
//	flags.go      what several commands are told
//	output.go     what several commands print
//	helper.go     being called by mount(8)
//	*_command.go  the commands
package main

import "os"

func main() { os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr)) }
