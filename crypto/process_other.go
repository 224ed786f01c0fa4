//go:build !linux

package crypto

// ProtectProcess does nothing where the system's means are not known.
func ProtectProcess() error { return nil }
