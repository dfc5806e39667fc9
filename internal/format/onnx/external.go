package onnx

import (
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// external reads tensor data that is kept in files beside the model. Only
// files inside the model's folder are read: fs must not lead out of it.
type external struct {
	open  func(name string) ([]byte, error) // the whole file, mapped or read
	files map[string][]byte
}

func (e *external) read(entries map[string]string, size int) ([]byte, error) {
	if e == nil || e.open == nil {
		return nil, fmt.Errorf("external data is not allowed here")
	}
	name, err := localName(entries["location"])
	if err != nil {
		return nil, err
	}
	offset, err := entryInt(entries, "offset", 0)
	if err != nil {
		return nil, err
	}
	length, err := entryInt(entries, "length", int64(size))
	if err != nil {
		return nil, err
	}
	if length != int64(size) {
		return nil, fmt.Errorf("external data in %q: length is %d bytes, the shape needs %d", name, length, size)
	}
	if e.files == nil {
		e.files = map[string][]byte{}
	}
	file, ok := e.files[name]
	if !ok {
		if file, err = e.open(name); err != nil {
			return nil, fmt.Errorf("external data: %w", err)
		}
		e.files[name] = file
	}
	if offset > int64(len(file)) || length > int64(len(file))-offset {
		return nil, fmt.Errorf("external data in %q: bytes %d to %d are wanted, the file has %d", name, offset, offset+length, len(file))
	}
	return file[offset : offset+length : offset+length], nil
}

// localName refuses names that lead out of the model's folder.
func localName(location string) (string, error) {
	if location == "" {
		return "", fmt.Errorf("external data has no location")
	}
	name := path.Clean(strings.ReplaceAll(location, `\`, "/"))
	if !fs.ValidPath(name) || name == "." || strings.Contains(name, ":") {
		return "", fmt.Errorf("external data %q lies outside the model's folder", location)
	}
	return name, nil
}

func entryInt(entries map[string]string, key string, absent int64) (int64, error) {
	s, ok := entries[key]
	if !ok {
		return absent, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("external data: %s is %q, expected a number of bytes", key, s)
	}
	return n, nil
}
