// Package daemon is the process that has a store mounted: starting it, what it does, and ending it.
//
// # Starting
//
// Start runs this program again, in a session of its own, and returns when the mount answers. The new process gets its
// Config, with the passphrase in it, through a pipe: arguments and environment can be read by others. A second pipe
// tells how the start went. Exec does the same in the place of the calling process, for a daemon that stays in front.
//
// # Ending
//
// However the end comes, everything is committed before the process ends: by Stop (the command), by umount(8) or
// fusermount3, by a signal. A mount that programs use is not taken away from them unless someone asks for just that.
//
//	config.go   Config and its way through the pipe
//	start.go    Start, Exec: the parent's side
//	run.go      Run: what the daemon does
//	end.go      signals, requests to unmount, the last commit
//	log.go      where the daemon's log goes
//	runtime.go  how much memory the daemon takes, and on how many CPUs it runs
//	stop.go     Stop: unmounting, seen from the command
//	users.go    who uses a mount
package daemon
