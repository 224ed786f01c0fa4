// Package control carries commands to the process that has a store open.
//
// A [Target] is a store as the commands see it: namespaces, values, statistics, checks, slots. There are two:
// [Local] acts on a store that this process has open, [Client] on one that a daemon has open and serves with a
// [Server]. A command is written once, against Target.
//
// # Trust
//
// The socket lies in a directory that only its owner can enter. The server asks the kernel who connected
// (SO_PEERCRED) and serves its own user and root; a client makes sure of the same before it says anything, since
// passphrases go over the connection. What the socket gives is what the mount gives to the same user, and changing a
// slot takes the passphrase of that slot. No error text carries a secret or a part of the input that did not parse.
//
// # Protocol, version 1
//
// A unix stream socket; each message is one JSON object on one line of at most 1 MiB, newline included. Bytes are
// base64 (RFC 4648, padded). A name or path that is not UTF-8 is {"base64":"…"} instead of a string. Fields that a reader does not know are ignored.
//
// The client speaks first, the server answers:
//
//	{"hello":{"protocol":"salliefs-control","version":1}}
//	{"hello":{"protocol":"salliefs-control","version":1,"store":"<32 hex digits>","dir":"/home/ada/.sallie","pid":4711,"mount":"/home/ada/sallie"}}
//
// A server that does not speak the version, or does not serve the user, answers {"error":…} and closes. Then the
// client sends requests, one at a time, with increasing numbers:
//
//	{"id":1,"op":"get","args":{"path":"preferences/theme"}}
//
// For an operation that takes a value, data messages follow, and one that ends them. abort says that the sender could
// not read its value to the end: nothing is changed.
//
//	{"id":2,"op":"set","args":{"path":"preferences/theme"}}
//	{"id":2,"data":"ZGFyaw=="}
//	{"id":2,"end":true}          or  {"id":2,"abort":true}
//
// The server answers with any number of messages that carry one of data, item or progress, then exactly one that
// carries result or error:
//
//	{"id":1,"data":"ZGFyaw=="}
//	{"id":3,"item":{…}}
//	{"id":3,"progress":{"part":"files","done":120,"total":4096}}
//	{"id":1,"result":{}}
//	{"id":1,"error":{"code":"not-found","text":"preferences/theme: not found"}}
//
// The answer may come before the value was sent whole; the rest of it is then ignored. Closing the connection cancels
// the request that runs.
//
//	op         args                            answers
//	stats      requests, reset                 result: Stats
//	check      data                            progress; item: Problem
//	repair     dry_run                         progress; item: Problem; Repaired
//	ns-list                                    item: Namespace
//	ns-create  name, settings                  result: Namespace
//	ns-set     name, settings                  result: Namespace
//	ns-rename  old, new
//	ns-remove  name, force, dry_run            result: Removed
//	get        path                            item: Entry; data
//	set        path; a value                   result: Entry
//	remove     path, force, dry_run            result: Removed
//	list       path, recursive                 item: Entry
//	passwd     context, old, new, kdf          old and new are bytes
//	recover    recovery_key, new, kdf          new is bytes
//	unmount    lazy                            ends when everything is durable and the daemon is about to end
//
// # Error codes
//
// They are listed in codes.go, are part of the protocol and are never given another meaning. A code that a client does
// not know stands for an unknown failure.
//
// # Locking
//
// Server.mu guards the connections and the draining flag; Local.keyringMu makes changes of the keyring one at a time.
// Neither is held while the other is taken, nor while the store works. Processes that make sockets take turns by a lock
// on the runtime directory.
//
// # Files of this package
//
//	target.go, name.go   Target and what it speaks of
//	wire.go     messages and lines
//	codes.go    errors that survive the trip
//	socket.go, peer.go   where the socket is, who is at its other end
//	server.go, ops.go    serving a Target
//	client.go, remote.go the client's connection; Client as a Target
//	local.go, values.go, namespaces.go, secrets.go, stats.go   Local
package control
