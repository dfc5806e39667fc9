package safetensors

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/salver-ml/salver/internal/mmap"
)

// The names of a model in its folder.
const (
	singleName = "model.safetensors"
	indexName  = singleName + ".index.json"
)

// Open maps and parses a file. path may also be the index of a model in several
// files, or a folder with such an index or a file model.safetensors in it.
func Open(path string) (*File, error) {
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case st.IsDir():
		return openFolder(path)
	case strings.HasSuffix(path, ".index.json"):
		return openShards(path)
	}
	return open(path)
}

func openFolder(dir string) (*File, error) {
	for _, name := range []string{indexName, singleName} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return Open(path)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%s has no weights: expected %s or %s", dir, singleName, indexName)
}

func open(path string) (*File, error) {
	m, err := mmap.Open(path)
	if err != nil {
		return nil, err
	}
	f, err := Parse(m.Bytes())
	if err != nil {
		m.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f.files = mmap.Files{m}
	return f, nil
}

// openShards opens the files that an index names.
func openShards(path string) (*File, error) {
	m, err := mmap.Open(path)
	if err != nil {
		return nil, err
	}
	shardOf, err := parseIndex(m.Bytes())
	m.Close()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	all := &File{Metadata: map[string]string{}, byName: map[string]int{}}
	for _, shard := range slices.Compact(slices.Sorted(maps.Values(shardOf))) {
		f, err := open(filepath.Join(filepath.Dir(path), shard))
		if err == nil {
			err = all.join(f, shard, shardOf)
		}
		if err != nil {
			all.Close()
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(shardOf)) {
		if !all.Has(name) {
			all.Close()
			return nil, fmt.Errorf("%s: tensor %q is not in %s", path, name, shardOf[name])
		}
	}
	return all, nil
}

// join adds a shard's tensors, which must be those that the index has for it.
func (f *File) join(shard *File, name string, shardOf map[string]string) error {
	f.files = append(f.files, shard.files...)
	for _, t := range shard.Tensors {
		if shardOf[t.Name] != name {
			return fmt.Errorf("%s has tensor %q, which by the index it has not", name, t.Name)
		}
		f.byName[t.Name] = len(f.Tensors)
		f.Tensors = append(f.Tensors, t)
	}
	for key, v := range shard.Metadata {
		if old, ok := f.Metadata[key]; ok && old != v {
			return fmt.Errorf("%s has %q as %q in its metadata, an earlier shard %q", name, v, key, old)
		}
		f.Metadata[key] = v
	}
	return nil
}

// parseIndex gives the file of each tensor. The index's own metadata are for
// people: they may be anything.
func parseIndex(b []byte) (shardOf map[string]string, err error) {
	d, err := newDecoder(b)
	if err != nil {
		return nil, err
	}
	err = d.object(func(key string) error {
		switch key {
		case "weight_map":
			shardOf, err = d.texts()
			return err
		case "metadata":
			var any json.RawMessage
			return d.Decode(&any)
		}
		return errors.New("this field is not known, expected metadata and weight_map")
	})
	if err == nil {
		err = d.end()
	}
	if err == nil && len(shardOf) == 0 {
		err = errors.New("weight_map names no tensor")
	}
	for _, shard := range shardOf {
		// Links are followed: a download cache keeps its files elsewhere.
		if err == nil && (!filepath.IsLocal(shard) || strings.ContainsAny(shard, `/\`) || !strings.HasSuffix(shard, ".safetensors")) {
			err = fmt.Errorf("weight_map names %q, expected files NAME.safetensors in the index's folder", shard)
		}
	}
	return shardOf, err
}
