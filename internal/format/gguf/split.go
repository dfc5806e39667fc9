package gguf

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/salver-ml/salver/internal/mmap"
)

// The metadata of a model in several files.
const (
	splitNumber  = "split.no"
	splitCount   = "split.count"
	splitTensors = "split.tensors.count"
)

// shardName is how the shards are called, from 00001.
var shardName = regexp.MustCompile(`^(.*)-(\d{5})-of-(\d{5})\.gguf$`)

// Open maps and parses a file. Of a model that is split over several files it
// opens all, whichever is given; they are called NAME-00001-of-00003.gguf and so
// on and are in one folder.
func Open(path string) (*File, error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	n, err := f.UintOr(splitCount, 1)
	if err == nil && n > 1 {
		f.Close()
		return openSplit(path, n)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

func open(path string) (*File, error) {
	m, err := mmap.Open(path)
	if err != nil {
		return nil, err
	}
	f, err := parse(m.Bytes())
	if err != nil {
		m.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f.files = mmap.Files{m}
	return f, nil
}

func openSplit(path string, n int) (*File, error) {
	parts := shardName.FindStringSubmatch(filepath.Base(path))
	if parts == nil {
		return nil, fmt.Errorf("%s is one of %d shards: expected a name such as NAME-00001-of-%05d.gguf, by which to find the others", path, n, n)
	}
	if m, err := strconv.Atoi(parts[3]); err != nil || m != n {
		return nil, fmt.Errorf("%s is one of %d shards by its metadata (%s), and one of %s by its name", path, n, splitCount, parts[3])
	}
	var all *File
	for i := range n {
		name := filepath.Join(filepath.Dir(path), fmt.Sprintf("%s-%05d-of-%05d.gguf", parts[1], i+1, n))
		f, err := open(name)
		if err == nil {
			all, err = all.join(f, i, n, name)
		}
		if err != nil {
			if all != nil {
				all.Close()
			}
			return nil, fmt.Errorf("shard %d of %d: %w", i+1, n, err)
		}
	}
	if want, err := all.UintOr(splitTensors, len(all.Tensors)); err != nil || want != len(all.Tensors) {
		all.Close()
		if err == nil {
			err = fmt.Errorf("the shards have %d tensors, expected %d (%s)", len(all.Tensors), want, splitTensors)
		}
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return all, nil
}

// join checks that shard is number i of n and adds it to f, which is nil for
// the first. Both are f's to close.
func (f *File) join(shard *File, i, n int, name string) (*File, error) {
	if f == nil {
		f = shard
	} else {
		f.files = append(f.files, shard.files...)
	}
	count, err := shard.Uint(splitCount)
	if err == nil && count != n {
		err = fmt.Errorf("it is one of %d shards by its metadata (%s), the others of %d", count, splitCount, n)
	}
	number := 0
	if err == nil {
		number, err = shard.Uint(splitNumber)
	}
	if err == nil && number != i {
		err = fmt.Errorf("it is number %d by its metadata (%s), expected %d", number, splitNumber, i)
	}
	if err == nil && f != shard {
		err = f.merge(shard)
	}
	if err != nil {
		return f, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}
