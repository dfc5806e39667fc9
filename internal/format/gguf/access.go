package gguf

import (
	"errors"
	"fmt"
	"math"
	"reflect"
)

// ErrMissing is what the accessors' errors are where a key is absent.
var ErrMissing = errors.New("the file's metadata lack it")

// lookup converts the value of a key, if it is of a type that convert takes.
func lookup[T any](f *File, key, expected string, convert func(any) (T, bool)) (T, error) {
	v, ok := f.Metadata[key]
	if !ok {
		var zero T
		return zero, fmt.Errorf("key %q: %w", key, ErrMissing)
	}
	t, ok := convert(v)
	if !ok {
		return t, fmt.Errorf("key %q is %s, expected %s", key, describe(v), expected)
	}
	return t, nil
}

// or turns the error of a missing key into a default.
func or[T any](v T, err error, absent T) (T, error) {
	if errors.Is(err, ErrMissing) {
		return absent, nil
	}
	return v, err
}

// describe shows a value in an error, briefly.
func describe(v any) string {
	if r := reflect.ValueOf(v); r.Kind() == reflect.Slice {
		return fmt.Sprintf("an array of %d elements (%T)", r.Len(), v)
	}
	if s, ok := v.(string); ok && len(s) > 64 {
		return fmt.Sprintf("a string of %d bytes", len(s))
	}
	return fmt.Sprintf("%#v (%T)", v, v)
}

// is converts values of exactly type T.
func is[T any](v any) (T, bool) {
	t, ok := v.(T)
	return t, ok
}

// natural converts an integer of any type from 0 to MaxInt.
func natural(v any) (int, bool) {
	r := reflect.ValueOf(v)
	switch {
	case r.CanInt():
		return int(r.Int()), r.Int() >= 0 && r.Int() <= math.MaxInt
	case r.CanUint():
		return int(r.Uint()), r.Uint() <= math.MaxInt
	}
	return 0, false
}

func float(v any) (float64, bool) {
	r := reflect.ValueOf(v)
	if !r.CanFloat() {
		return 0, false
	}
	return r.Float(), true
}

// each converts the elements of an array.
func each[T any](convert func(any) (T, bool)) func(any) ([]T, bool) {
	return func(v any) ([]T, bool) {
		r := reflect.ValueOf(v)
		if r.Kind() != reflect.Slice {
			return nil, false
		}
		list := make([]T, r.Len())
		for i := range list {
			var ok bool
			if list[i], ok = convert(r.Index(i).Interface()); !ok {
				return nil, false
			}
		}
		return list, true
	}
}

// Uint is an integer of any type that is not negative.
func (f *File) Uint(key string) (int, error) {
	return lookup(f, key, fmt.Sprintf("an integer from 0 to %d", math.MaxInt), natural)
}

// UintOr is Uint, or absent if there is no such key.
func (f *File) UintOr(key string, absent int) (int, error) {
	v, err := f.Uint(key)
	return or(v, err, absent)
}

// Float is a float32 or float64.
func (f *File) Float(key string) (float64, error) { return lookup(f, key, "a float", float) }

// FloatOr is Float, or absent if there is no such key.
func (f *File) FloatOr(key string, absent float64) (float64, error) {
	v, err := f.Float(key)
	return or(v, err, absent)
}

// Bool is a bool.
func (f *File) Bool(key string) (bool, error) { return lookup(f, key, "a bool", is[bool]) }

// BoolOr is Bool, or absent if there is no such key.
func (f *File) BoolOr(key string, absent bool) (bool, error) {
	v, err := f.Bool(key)
	return or(v, err, absent)
}

// String is a string.
func (f *File) String(key string) (string, error) { return lookup(f, key, "a string", is[string]) }

// StringOr is String, or absent if there is no such key.
func (f *File) StringOr(key string, absent string) (string, error) {
	v, err := f.String(key)
	return or(v, err, absent)
}

// Strings is an array of strings; it is the file's own and not to be changed.
func (f *File) Strings(key string) ([]string, error) {
	return lookup(f, key, "an array of strings", is[[]string])
}

// Uints is an array of integers that are not negative.
func (f *File) Uints(key string) ([]int, error) {
	return lookup(f, key, fmt.Sprintf("an array of integers from 0 to %d", math.MaxInt), each(natural))
}

// Floats is an array of float32 or float64.
func (f *File) Floats(key string) ([]float64, error) {
	return lookup(f, key, "an array of floats", each(float))
}
