// Package secret gets passphrases to the commands and keeps them from leaving by other ways.
//
// A passphrase comes from a file, from the output of a command, from the environment or from the terminal, never from an
// argument, since arguments can be read by everyone. The environment can be read by all processes of the user, so it
// draws a warning.
//
//	source.go    where a passphrase comes from
//	terminal.go  the prompt
//	process.go   what a process that holds keys does about itself
package secret
