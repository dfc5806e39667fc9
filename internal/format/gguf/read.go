package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"slices"
	"unicode/utf8"
)

var le = binary.LittleEndian

// reader walks a file. The first thing wrong sets err; from then on it gives zeros.
type reader struct {
	b   []byte
	at  int
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("at byte %d: "+format, append([]any{r.at}, args...)...)
	}
}

// bytes gives the next n bytes, nil if they are not there.
func (r *reader) bytes(n uint64, what string) []byte {
	if r.err != nil {
		return nil
	}
	if left := len(r.b) - r.at; n > uint64(left) {
		r.fail("%s has %d bytes, but only %d follow: the file is cut off or damaged", what, n, left)
		return nil
	}
	b := r.b[r.at : r.at+int(n)]
	r.at += int(n)
	return b
}

func (r *reader) uint32(what string) uint32 {
	b := r.bytes(4, what)
	if b == nil {
		return 0
	}
	return le.Uint32(b)
}

func (r *reader) uint64(what string) uint64 {
	b := r.bytes(8, what)
	if b == nil {
		return 0
	}
	return le.Uint64(b)
}

// text gives the bytes of a string, which its length precedes.
func (r *reader) text(what string) []byte { return r.bytes(r.uint64("a length"), what) }

// name reads a key or a tensor's name.
func (r *reader) name(what string) string {
	b := r.text(what)
	if r.err != nil {
		return ""
	}
	if err := checkName(what, string(b)); err != nil {
		r.fail("%w", err)
	}
	return string(b)
}

// checkName refuses what is no key and no tensor's name.
func checkName(what, s string) error {
	switch {
	case len(s) == 0 || len(s) > maxName:
		return fmt.Errorf("%s has %d bytes, expected 1 to %d", what, len(s), maxName)
	case !utf8.ValidString(s):
		return fmt.Errorf("%s is %q, which is not UTF-8", what, s[:min(len(s), 64)])
	}
	return nil
}

// kind is the type of a metadata value.
type kind uint32

const (
	kindUint8 kind = iota
	kindInt8
	kindUint16
	kindInt16
	kindUint32
	kindInt32
	kindFloat32
	kindBool
	kindString
	kindArray
	kindUint64
	kindInt64
	kindFloat64
)

// kinds are the types by number, with the least size of a value in bytes.
var kinds = [...]struct {
	name string
	size int
}{
	{"uint8", 1}, {"int8", 1}, {"uint16", 2}, {"int16", 2}, {"uint32", 4}, {"int32", 4}, {"float32", 4},
	{"bool", 1}, {"string", 8}, {"array", 12}, {"uint64", 8}, {"int64", 8}, {"float64", 8},
}

// pair reads a key and its value.
func (r *reader) pair(f *File) {
	key := r.name("a key")
	if r.err != nil {
		return
	}
	if _, ok := f.Metadata[key]; ok {
		r.fail("key %q occurs twice", key)
		return
	}
	v := r.value(kind(r.uint32("the type of a value")))
	if r.err != nil {
		r.err = fmt.Errorf("key %q: %w", key, r.err)
		return
	}
	f.Keys = append(f.Keys, key)
	f.Metadata[key] = v
}

func (r *reader) value(k kind) any {
	switch k {
	case kindString:
		return string(r.text("a string"))
	case kindArray:
		return r.array()
	}
	if !r.known(k) {
		return nil
	}
	b := r.bytes(uint64(kinds[k].size), "a "+kinds[k].name)
	if b == nil {
		return nil
	}
	list := r.numbers(k, b)
	if r.err != nil {
		return nil
	}
	return reflect.ValueOf(list).Index(0).Interface()
}

func (r *reader) known(k kind) bool {
	if r.err == nil && int(k) >= len(kinds) {
		r.fail("a value has type %d, expected 0 to %d", k, len(kinds)-1)
	}
	return r.err == nil
}

func (r *reader) array() any {
	k, n := kind(r.uint32("the type of an array's elements")), r.uint64("the length of an array")
	if !r.known(k) {
		return nil
	}
	if k == kindArray {
		r.fail("an array of arrays: nothing known has such metadata, expected numbers or strings")
		return nil
	}
	size := kinds[k].size
	if left := len(r.b) - r.at; n > uint64(left/size) {
		r.fail("an array has %d elements of type %s, but only %d bytes follow: the file is cut off or damaged", n, kinds[k].name, left)
		return nil
	}
	if k == kindString {
		return r.strings(int(n))
	}
	return r.numbers(k, r.bytes(n*uint64(size), "an array"))
}

// strings reads n strings as parts of one, which vocabularies of hundreds of
// thousands of words are glad of.
func (r *reader) strings(n int) []string {
	from := r.at
	for range n {
		if r.text("a string of an array"); r.err != nil {
			return nil
		}
	}
	all := string(r.b[from:r.at])
	list := make([]string, n)
	for i := range list {
		size := int(le.Uint64([]byte(all[:8])))
		list[i], all = all[8:8+size], all[8+size:]
	}
	return list
}

// numbers decodes values of a type of fixed size.
func (r *reader) numbers(k kind, b []byte) any {
	switch k {
	case kindUint8:
		return decode(b, 1, func(b []byte) uint8 { return b[0] })
	case kindInt8:
		return decode(b, 1, func(b []byte) int8 { return int8(b[0]) })
	case kindUint16:
		return decode(b, 2, le.Uint16)
	case kindInt16:
		return decode(b, 2, func(b []byte) int16 { return int16(le.Uint16(b)) })
	case kindUint32:
		return decode(b, 4, le.Uint32)
	case kindInt32:
		return decode(b, 4, func(b []byte) int32 { return int32(le.Uint32(b)) })
	case kindFloat32:
		return decode(b, 4, func(b []byte) float32 { return math.Float32frombits(le.Uint32(b)) })
	case kindUint64:
		return decode(b, 8, le.Uint64)
	case kindInt64:
		return decode(b, 8, func(b []byte) int64 { return int64(le.Uint64(b)) })
	case kindFloat64:
		return decode(b, 8, func(b []byte) float64 { return math.Float64frombits(le.Uint64(b)) })
	}
	if i := slices.IndexFunc(b, func(c byte) bool { return c > 1 }); i >= 0 {
		r.fail("a bool is %d, expected 0 or 1", b[i])
		return nil
	}
	return decode(b, 1, func(b []byte) bool { return b[0] != 0 })
}

func decode[T any](b []byte, size int, one func([]byte) T) []T {
	list := make([]T, len(b)/size)
	for i := range list {
		list[i] = one(b[i*size:])
	}
	return list
}
