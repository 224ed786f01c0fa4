package blockstore

import (
	"encoding/json"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// PathName is a name or a path. In JSON it is a string or, when its bytes are not UTF-8, which a string cannot carry,
// an object: {"base64":"…"}.
type PathName string

type rawName struct {
	Base64 []byte `json:"base64"`
}

// Shown is the name for people, safe for a terminal and on one line: one with control characters or broken bytes is quoted.
func (n PathName) Shown() string {
	if !utf8.ValidString(string(n)) {
		return strconv.Quote(string(n))
	}
	for _, r := range n {
		if !unicode.IsPrint(r) {
			return strconv.Quote(string(n))
		}
	}
	return string(n)
}

// MarshalJSON implements json.Marshaler.
func (n PathName) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(n)) {
		return json.Marshal(string(n))
	}
	return json.Marshal(rawName{[]byte(n)})
}

// UnmarshalJSON implements json.Unmarshaler.
func (n *PathName) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '{' {
		var raw rawName
		err := json.Unmarshal(b, &raw)
		*n = PathName(raw.Base64)
		return err
	}
	var s string
	err := json.Unmarshal(b, &s)
	*n = PathName(s)
	return err
}
