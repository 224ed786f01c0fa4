package control

import (
	"encoding/json"
	"unicode/utf8"
)

// Name is a name or a path. In JSON it is a string or, when its bytes are not UTF-8, which a string cannot carry,
// an object: {"base64":"…"}.
type Name string

type rawName struct {
	Base64 []byte `json:"base64"`
}

// MarshalJSON implements json.Marshaler.
func (n Name) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(n)) {
		return json.Marshal(string(n))
	}
	return json.Marshal(rawName{[]byte(n)})
}

// UnmarshalJSON implements json.Unmarshaler.
func (n *Name) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '{' {
		var raw rawName
		err := json.Unmarshal(b, &raw)
		*n = Name(raw.Base64)
		return err
	}
	var s string
	err := json.Unmarshal(b, &s)
	*n = Name(s)
	return err
}
