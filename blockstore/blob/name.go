package blob

import (
	"fmt"
	"strings"
)

// MaxName is the longest name of an object, in bytes. With what Local adds for
// temporary files each part still fits into the 255 bytes of a file name.
const MaxName = 200

// CheckName returns nil if name may name an object, else an error that wraps
// ErrName. Parts are separated by "/"; a part is not empty, starts with a
// lower-case letter or a digit and goes on with those and "-", "_", ".". So a name
// is the same on every filesystem (also where case does not count) and in every
// URL, can not leave its directory, and never looks like one of Local's temporary
// files.
func CheckName(name string) error {
	if len(name) > MaxName {
		return fmt.Errorf("%w: longer than %d bytes", ErrName, MaxName)
	}
	for part := range strings.SplitSeq(name, "/") {
		if !validPart(part) {
			return fmt.Errorf("%w: part %q", ErrName, part)
		}
	}
	return nil
}

func validPart(part string) bool {
	if part == "" || !alphanumeric(part[0]) {
		return false
	}
	for i := 1; i < len(part); i++ {
		if c := part[i]; !alphanumeric(c) && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z'
}
