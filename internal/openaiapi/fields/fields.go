// Package fields reads JSON objects by tables. Each member that an API knows
// has a row, which says what it does, within which bounds, or why it is refused;
// what has no row is an error that names it, as is a member given twice. The
// same tables make the API's documentation.
package fields

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Error is a member that can't be taken.
type Error struct {
	Path   string // as messages[2].role; "" for the whole body
	Reason string
}

// Error names the member and the reason.
func (e *Error) Error() string {
	if e.Path == "" {
		return e.Reason
	}
	return e.Path + ": " + e.Reason
}

// Value is a JSON value and where it stands.
type Value struct {
	Raw  json.RawMessage
	Path string
}

// Errorf is an error about the value.
func (v Value) Errorf(format string, args ...any) error {
	return &Error{v.Path, fmt.Sprintf(format, args...)}
}

// parseBody checks that a request's body is one JSON value of valid Unicode.
// Values are parts of the body, and valid as long as it is.
func parseBody(b []byte) (Value, error) {
	if at := invalidUTF8(b); at >= 0 {
		return Value{}, &Error{"", fmt.Sprintf("expected UTF-8, found the byte %#02x at %d", b[at], at)}
	}
	if !json.Valid(b) {
		err := json.Unmarshal(b, new(json.RawMessage)) // says why
		return Value{}, &Error{"", fmt.Sprintf("expected a JSON object: %v", err)}
	}
	if at := loneSurrogate(b); at >= 0 {
		return Value{}, &Error{"", fmt.Sprintf("expected pairs of surrogates, found %s alone", b[at:at+6])}
	}
	return Value{Raw: bytes.Trim(b, space)}, nil
}

func invalidUTF8(b []byte) int {
	if utf8.Valid(b) {
		return -1
	}
	for i := 0; ; {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
}

// loneSurrogate finds an escape that encodes half a character in valid JSON,
// which encoding/json would replace without a word; -1 if there is none.
func loneSurrogate(b []byte) int {
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' {
			continue
		}
		if b[i+1] != 'u' {
			i++
			continue
		}
		switch r := escaped(b[i:]); {
		case r >= 0xdc00 && r < 0xe000:
			return i
		case r >= 0xd800 && r < 0xdc00:
			if low := escaped(b[i+6:]); low < 0xdc00 || low >= 0xe000 {
				return i
			}
			i += 6
		}
		i += 5
	}
	return -1
}

// escaped is the code of an escape \uXXXX at the start of b; 0 if there is none.
func escaped(b []byte) uint64 {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0
	}
	n, _ := strconv.ParseUint(string(b[2:6]), 16, 16) // of valid JSON
	return n
}

// IsNull reports whether the value is null, which stands for an absent one.
func (v Value) IsNull() bool { return len(v.Raw) == 0 || string(v.Raw) == "null" }

// Kind is what the value is: object, array, string, number, boolean or null.
func (v Value) Kind() string {
	if v.IsNull() {
		return "null"
	}
	switch v.Raw[0] {
	case '{':
		return "object"
	case '[':
		return "array"
	case '"':
		return "string"
	case 't', 'f':
		return "boolean"
	}
	return "number"
}

func (v Value) expect(kind string) error {
	if found := v.Kind(); found != kind {
		article := "a"
		if kind[0] == 'a' || kind[0] == 'o' {
			article = "an"
		}
		return v.Errorf("expected %s %s, found %s", article, kind, v.shown())
	}
	return nil
}

// shown is the value itself where that is short, else its kind.
func (v Value) shown() string {
	if k := v.Kind(); k == "object" || k == "array" || len(v.Raw) > 40 {
		return k
	}
	return string(v.Raw)
}

// Member is a member of an object, in its order.
type Member struct {
	Name string
	Value
}

// maxMembers bounds an object: no API has more in one.
const maxMembers = 4096

// Object gives the members of an object. A name may come once.
func (v Value) Object() ([]Member, error) {
	if err := v.expect("object"); err != nil {
		return nil, err
	}
	var list []Member
	seen := map[string]bool{}
	for s := (scanner{v.Raw, 1}); s.more('}'); {
		var m Member
		if err := json.Unmarshal(s.value(), &m.Name); err != nil {
			return nil, v.Errorf("%v", err)
		}
		m.Path = join(v.Path, m.Name)
		s.pass(':')
		m.Raw = s.value()
		if seen[m.Name] {
			return nil, m.Errorf("it is given twice")
		}
		seen[m.Name] = true
		if list = append(list, m); len(list) > maxMembers {
			return nil, v.Errorf("expected at most %d members, found more", maxMembers)
		}
	}
	return list, nil
}

func join(path, name string) string {
	if len(name) > 64 {
		name = strings.ToValidUTF8(name[:64], "") + "…"
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

// Type is the text of an object's member "type"; usual where there is none. It
// is read before the others, since they depend on it.
func (v Value) Type(usual string) (string, error) {
	members, err := v.Object()
	if err != nil {
		return "", err
	}
	for _, m := range members {
		if m.Name == "type" && !m.IsNull() {
			return m.Text()
		}
	}
	return usual, nil
}

// OfType refuses an object whose member "type" is none of those; "" stands for none.
func (v Value) OfType(types ...string) error {
	kind, err := v.Type("")
	if err == nil && !slices.Contains(types, kind) {
		err = v.Errorf("expected the type %s, found %q", strings.TrimSuffix(strings.Join(types, " or "), " or "), kind)
	}
	return err
}

// Array gives the elements of an array of at most the given length.
func (v Value) Array(most int) ([]Value, error) {
	if err := v.expect("array"); err != nil {
		return nil, err
	}
	var list []Value
	for s := (scanner{v.Raw, 1}); s.more(']'); {
		list = append(list, Value{s.value(), fmt.Sprintf("%s[%d]", v.Path, len(list))})
		if len(list) > most {
			return nil, v.Errorf("expected at most %d elements, found more", most)
		}
	}
	return list, nil
}

// Text is a string's text.
func (v Value) Text() (s string, err error) {
	if err := v.expect("string"); err != nil {
		return "", err
	}
	if err := json.Unmarshal(v.Raw, &s); err != nil {
		return "", v.Errorf("%v", err)
	}
	return s, nil
}

// Bool is a boolean.
func (v Value) Bool() (bool, error) {
	return string(v.Raw) == "true", v.expect("boolean")
}

// Number is a number within bounds.
func (v Value) Number(lo, hi float64) (float64, error) {
	if err := v.expect("number"); err != nil {
		return 0, err
	}
	f, err := strconv.ParseFloat(string(v.Raw), 64)
	if err != nil || f < lo || f > hi {
		return 0, v.Errorf("expected a number %s, found %s", span(lo, hi), v.shown())
	}
	return f, nil
}

// Int is an integer within bounds, written without fraction or exponent.
func (v Value) Int(lo, hi int64) (int64, error) {
	if err := v.expect("number"); err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(string(v.Raw), 10, 64)
	if err != nil || n < lo || n > hi {
		bounds := span(float64(lo), float64(hi))
		if errors.Is(err, strconv.ErrRange) || n > hi {
			bounds = fmt.Sprintf("from %d to %d", lo, hi)
		}
		return 0, v.Errorf("expected an integer %s, found %s", bounds, v.shown())
	}
	return n, nil
}

// Strings is a string, or an array of at most the given length of them.
func (v Value) Strings(most int) ([]string, error) {
	if v.Kind() == "string" {
		s, err := v.Text()
		return []string{s}, err
	}
	list, err := v.Array(most)
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(list))
	for i, e := range list {
		if texts[i], err = e.Text(); err != nil {
			return nil, err
		}
	}
	return texts, nil
}

// Many is a bound that stands for none: more than a body has.
const Many = math.MaxInt32

// span words bounds.
func span(lo, hi float64) string {
	text := func(f float64) string {
		if f == math.Trunc(f) && math.Abs(f) < 1e15 {
			return strconv.FormatInt(int64(f), 10)
		}
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	switch {
	case lo <= -Many && hi >= Many:
		return "of any size"
	case hi >= Many:
		return "of at least " + text(lo)
	}
	return "from " + text(lo) + " to " + text(hi)
}

// IDs is an array of token ids.
func (v Value) IDs() ([]int32, error) {
	if err := v.expect("array"); err != nil {
		return nil, err
	}
	var ids []int32
	null := bytes.Contains(v.Raw, []byte("null")) // would be read as 0
	if err := json.Unmarshal(v.Raw, &ids); err != nil || null || slices.ContainsFunc(ids, func(i int32) bool { return i < 0 }) {
		return nil, v.badID()
	}
	return ids, nil
}

// badID is the error for the first element that is no token id.
func (v Value) badID() error {
	list, err := v.Array(Many)
	for i := 0; err == nil && i < len(list); i++ {
		_, err = list[i].Int(0, math.MaxInt32)
	}
	if err == nil {
		err = v.Errorf("expected an array of token ids")
	}
	return err
}
