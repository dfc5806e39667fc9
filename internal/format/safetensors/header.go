package safetensors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/salver-ml/salver/internal/dtype"
)

// info is what the header says of a tensor.
type info struct {
	name       string
	dtype      dtype.Type
	shape      []int
	begin, end uint64 // bytes of the data
}

// decoder reads JSON of which every member is expected, and none twice.
type decoder struct{ *json.Decoder }

func newDecoder(b []byte) (decoder, error) {
	if !utf8.Valid(b) {
		return decoder{}, errors.New("the JSON is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return decoder{d}, nil
}

// token reads one that must be of type T.
func token[T any](d decoder, what string) (T, error) {
	var zero T
	v, err := d.Token()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return zero, err
	}
	t, ok := v.(T)
	if !ok {
		return zero, fmt.Errorf("found %v, expected %s", v, what)
	}
	return t, nil
}

func (d decoder) delim(want json.Delim) error {
	got, err := token[json.Delim](d, fmt.Sprintf("%q", want.String()))
	if err == nil && got != want {
		err = fmt.Errorf("found %q, expected %q", got.String(), want.String())
	}
	return err
}

// object reads one whose members' values member reads.
func (d decoder) object(member func(key string) error) error {
	if err := d.delim('{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for d.More() {
		key, err := token[string](d, "a key")
		if err != nil {
			return err
		}
		if seen[key] {
			return fmt.Errorf("%q occurs twice", key)
		}
		if strings.ContainsRune(key, utf8.RuneError) { // which half a surrogate pair is read as
			return fmt.Errorf("%q is not Unicode text", key)
		}
		seen[key] = true
		if err := member(key); err != nil {
			return fmt.Errorf("%q: %w", key, err)
		}
	}
	return d.delim('}')
}

// texts reads an object of strings.
func (d decoder) texts() (map[string]string, error) {
	m := map[string]string{}
	err := d.object(func(key string) error {
		v, err := token[string](d, "a string")
		m[key] = v
		return err
	})
	return m, err
}

// naturals reads an array of integers from 0 to most.
func (d decoder) naturals(most uint64) ([]uint64, error) {
	if err := d.delim('['); err != nil {
		return nil, err
	}
	list := []uint64{}
	for d.More() {
		text, err := token[json.Number](d, "an integer")
		if err != nil {
			return nil, err
		}
		n, err := strconv.ParseUint(text.String(), 10, 64)
		if err != nil || n > most {
			return nil, fmt.Errorf("found %s, expected an integer from 0 to %d", text, most)
		}
		list = append(list, n)
	}
	return list, d.delim(']')
}

// end makes sure that nothing but space follows.
func (d decoder) end() error {
	v, err := d.Token()
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err == nil:
		err = fmt.Errorf("found %v after the JSON, expected only spaces", v)
	}
	return err
}

func parseHeader(b []byte) (metadata map[string]string, infos []info, err error) {
	d, err := newDecoder(b)
	if err != nil {
		return nil, nil, err
	}
	err = d.object(func(key string) error {
		if key == metadataKey {
			var err error
			metadata, err = d.texts()
			return err
		}
		t, err := d.tensor(key)
		infos = append(infos, t)
		return err
	})
	if err == nil {
		err = d.end()
	}
	return metadata, infos, err
}

// tensor reads the description of a tensor.
func (d decoder) tensor(name string) (info, error) {
	t := info{name: name}
	found := 0
	err := d.object(func(key string) error {
		found++
		switch key {
		case "dtype":
			return d.dtype(&t)
		case "shape":
			dims, err := d.naturals(math.MaxInt)
			t.shape = make([]int, len(dims))
			for i, n := range dims {
				t.shape[i] = int(n)
			}
			return err
		case "data_offsets":
			at, err := d.naturals(math.MaxInt)
			if err == nil && (len(at) != 2 || at[0] > at[1]) {
				err = fmt.Errorf("found %v, expected the first byte and the one after the last", at)
			}
			if err == nil {
				t.begin, t.end = at[0], at[1]
			}
			return err
		}
		return errors.New("this field is not known, expected dtype, shape and data_offsets")
	})
	if err == nil && found != 3 {
		err = fmt.Errorf("%d fields, expected dtype, shape and data_offsets", found)
	}
	return t, err
}

func (d decoder) dtype(t *info) error {
	name, err := token[string](d, "a type's name")
	if err != nil {
		return err
	}
	var ok bool
	if t.dtype, ok = types[name]; !ok {
		return fmt.Errorf("type %q is not supported, expected one of %s", name, strings.Join(slices.Sorted(maps.Keys(types)), ", "))
	}
	return nil
}
