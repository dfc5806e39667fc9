package gguf

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/dtype/block"
)

// shard is the metadata of one of several files.
func shard(number, count int, more ...Pair) []Pair {
	return append([]Pair{{splitNumber, uint16(number)}, {splitCount, uint16(count)}, {splitTensors, int32(3)}}, more...)
}

// split is a model in three files, by their names.
func split(t *testing.T) map[string][]byte {
	return map[string][]byte{
		"m-00001-of-00003.gguf": write(t, shard(0, 3, Pair{"general.architecture", "llama"}), tensor("a", block.F32, 1)),
		"m-00002-of-00003.gguf": write(t, shard(1, 3), tensor("b", block.F32, 2)),
		"m-00003-of-00003.gguf": write(t, shard(2, 3, Pair{"later", true}), tensor("c", block.F32, 3)),
	}
}

func openFiles(t *testing.T, files map[string][]byte, name string) (*File, error) {
	t.Helper()
	dir := t.TempDir()
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Open(filepath.Join(dir, name))
}

func TestSplit(t *testing.T) {
	for i := range 3 {
		f, err := openFiles(t, split(t), fmt.Sprintf("m-%05d-of-00003.gguf", i+1))
		if err != nil {
			t.Fatal(err)
		}
		arch, err := f.String("general.architecture")
		later, err2 := f.Bool("later")
		if err != nil || err2 != nil || arch != "llama" || !later || len(f.Tensors) != 3 {
			t.Errorf("%q, %v, %d tensors, %v, %v", arch, later, len(f.Tensors), err, err2)
		}
		for k, name := range []string{"a", "b", "c"} {
			if x, err := f.Tensor(name); err != nil || x.Name != name || len(x.Data) != 4*(k+1) || x.Data[1] != byte(1+len(name)) {
				t.Errorf("%s: %+v, %v", name, x, err)
			}
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestSplitRefuses(t *testing.T) {
	const first, second = "m-00001-of-00003.gguf", "m-00002-of-00003.gguf"
	for name, c := range map[string]struct {
		change func(map[string][]byte)
		open   string
		err    string
	}{
		"missing":      {func(m map[string][]byte) { delete(m, second) }, first, "shard 2 of 3: "},
		"damaged":      {func(m map[string][]byte) { m[second] = m[second][:90] }, first, second + ": "},
		"other order":  {func(m map[string][]byte) { m[first], m[second] = m[second], m[first] }, first, "it is number 1 by its metadata (split.no), expected 0"},
		"other count":  {func(m map[string][]byte) { m[second] = write(t, shard(1, 2), tensor("b", block.F32, 2)) }, first, "one of 2 shards by its metadata"},
		"whole":        {func(m map[string][]byte) { m[second] = write(t, nil, tensor("b", block.F32, 2)) }, first, `key "split.count"`},
		"no number":    {func(m map[string][]byte) { m[second] = write(t, shard(1, 3)[1:], tensor("b", block.F32, 2)) }, first, `key "split.no"`},
		"same tensor":  {func(m map[string][]byte) { m[second] = write(t, shard(1, 3), tensor("a", block.F32, 2)) }, first, `tensor "a" is in another shard too`},
		"tensor count": {func(m map[string][]byte) { m[second] = write(t, shard(1, 3)) }, first, "the shards have 2 tensors, expected 3"},
		"other value": {func(m map[string][]byte) {
			m[second] = write(t, shard(1, 3, Pair{"general.architecture", "gpt2"}), tensor("b", block.F32, 2))
		}, first, `key "general.architecture" has another value`},
		"name":         {func(m map[string][]byte) { m["m.gguf"] = m[first] }, "m.gguf", "NAME-00001-of-00003.gguf"},
		"name's count": {func(m map[string][]byte) { m["m-00001-of-00004.gguf"] = m[first] }, "m-00001-of-00004.gguf", "of 00004 by its name"},
		"count type":   {func(m map[string][]byte) { m["m.gguf"] = write(t, []Pair{{splitCount, "3"}}) }, "m.gguf", "expected an integer"},
	} {
		files := split(t)
		c.change(files)
		if f, err := openFiles(t, files, c.open); err == nil || f != nil || !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: got %v, expected %q", name, err, c.err)
		}
	}
}

func TestOpenNamesTheFile(t *testing.T) {
	if _, err := openFiles(t, map[string][]byte{"x.gguf": []byte("GGUF")}, "x.gguf"); err == nil || !strings.Contains(err.Error(), "x.gguf: not a GGUF file") {
		t.Error(err)
	}
	if _, err := Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "folder") {
		t.Error(err)
	}
}
