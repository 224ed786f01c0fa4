// Package session gets from the path that a command was given to a [control.Target]: the store opened here and now, or
// the daemon that has it mounted. It also makes stores, and tells of them what can be told without a key.
//
//	find.go    from a path to a store
//	create.go  making one
//	unlock.go  from a secret to the master key
//	open.go    from a store to a Target
//	info.go    what is known without a key
package session
