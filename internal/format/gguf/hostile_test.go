package gguf

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/testkit"
)

// raw builds files that Write refuses to.
type raw struct{ bytes.Buffer }

func (r *raw) u32(v uint32) *raw { r.Write(le.AppendUint32(nil, v)); return r }
func (r *raw) u64(v uint64) *raw { r.Write(le.AppendUint64(nil, v)); return r }
func (r *raw) text(s string) *raw {
	r.u64(uint64(len(s))).WriteString(s)
	return r
}

func header(tensors, pairs uint64) *raw {
	r := &raw{}
	r.WriteString(magic)
	return r.u32(3).u64(tensors).u64(pairs)
}

// info adds a tensor's description; dims are in the file's order.
func (r *raw) info(name string, format uint32, offset uint64, dims ...uint64) *raw {
	r.text(name).u32(uint32(len(dims)))
	for _, d := range dims {
		r.u64(d)
	}
	return r.u32(format).u64(offset)
}

// data adds the padding and n bytes.
func (r *raw) data(n int) []byte {
	r.Write(make([]byte, -r.Len()&31+n))
	return r.Bytes()
}

func hostile() map[string]struct {
	file []byte
	err  string
} {
	type c = struct {
		file []byte
		err  string
	}
	patched := func(at int, v string) []byte {
		b := header(0, 0).data(64)
		copy(b[at:], v)
		return b
	}
	return map[string]c{
		"empty":           {nil, "it has 0 bytes, the header alone 24"},
		"other":           {patched(0, "PK\x03\x04"), `expected it to start with "GGUF", found "PK\x03\x04"`},
		"pointer":         {[]byte("version https://git-lfs.github.com/spec/v1"), "Git LFS"},
		"GGML":            {patched(0, "tjgg"), "before GGUF"},
		"big-endian":      {patched(4, "\x00\x00\x00\x03"), "big-endian"},
		"swapped":         {patched(0, "FUGG"), "big-endian"},
		"version 1":       {patched(4, "\x01"), "version 1 is not read"},
		"version 4":       {patched(4, "\x04"), "version 4 is not known"},
		"cut header":      {header(0, 0).Bytes()[:20], "at byte 16: the number of metadata pairs has 8 bytes, but only 4 follow"},
		"tensor count":    {header(math.MaxUint64, 0).data(100), "18446744073709551615 tensors are announced"},
		"pair count":      {header(0, 1<<40).data(100), "1099511627776 metadata pairs"},
		"key length":      {header(0, 1).u64(math.MaxUint64).data(40), "a key has 18446744073709551615 bytes, but only"},
		"empty key":       {header(0, 1).text("").data(40), "a key has 0 bytes"},
		"long key":        {header(0, 1).text(strings.Repeat("k", 65536)).data(40), "a key has 65536 bytes, expected 1 to 65535"},
		"bytes as key":    {header(0, 1).text("\xff").data(40), "not UTF-8"},
		"key twice":       {header(0, 2).text("k").u32(4).u32(1).text("k").u32(4).u32(1).data(0), `key "k" occurs twice`},
		"type":            {header(0, 1).text("k").u32(13).data(40), `key "k": at byte 37: a value has type 13, expected 0 to 12`},
		"element type":    {header(0, 1).text("k").u32(9).u32(99).u64(0).data(40), "type 99"},
		"nested":          {header(0, 1).text("k").u32(9).u32(9).u64(1).data(40), "array of arrays"},
		"array length":    {header(0, 1).text("k").u32(9).u32(4).u64(math.MaxUint64).data(40), "18446744073709551615 elements of type uint32"},
		"array product":   {header(0, 1).text("k").u32(9).u32(10).u64(1<<61 + 1).data(40), "2305843009213693953 elements"},
		"string count":    {header(0, 1).text("k").u32(9).u32(8).u64(100).data(40), "100 elements of type string"},
		"string in array": {header(0, 1).text("k").u32(9).u32(8).u64(2).u64(1 << 60).data(40), "a string of an array has 1152921504606846976 bytes"},
		"bool of 2":       {append(header(0, 1).text("k").u32(7).Bytes(), 2, 0, 0, 0), "a bool is 2"},
		"alignment":       {header(0, 1).text(alignmentKey).u32(4).u32(48).data(40), "expected a power of two"},
		"alignment type":  {header(0, 1).text(alignmentKey).u32(10).u64(32).data(40), "expected a power of two as uint32"},
		"large alignment": {header(1, 1).text(alignmentKey).u32(4).u32(1<<30).info("a", 0, 0, 1).data(40), "takes bytes 0 to 4 of the data, which have 0"},
		"rank":            {header(1, 0).info("a", 0, 0, 1, 1, 1, 1, 1).data(64), "5 dimensions, expected at most 4"},
		"large rank":      {header(1, 0).text("a").u32(math.MaxUint32).data(64), "4294967295 dimensions"},
		"zero":            {header(1, 0).info("a", 0, 0, 0).data(64), "each at least 1"},
		"dimension":       {header(1, 0).info("a", 0, 0, math.MaxUint64).data(64), "dimension 0 of tensor \"a\" is 18446744073709551615"},
		"product":         {header(1, 0).info("a", 0, 0, 1<<32, 1<<32).data(64), "more bytes than this system can address"},
		"wrapping":        {header(1, 0).info("a", 24, 0, 1<<31, 1<<31, 4).data(64), "more bytes than this system can address"},
		"part of a block": {header(1, 0).info("a", 2, 0, 48).data(64), "multiple of 32"},
		"format":          {header(1, 0).info("a", 4, 0, 32).data(64), `tensor "a" has ggml_type 4`},
		"large format":    {header(1, 0).info("a", 256, 0, 32).data(64), `tensor "a" has ggml_type 256`},
		"unaligned":       {header(1, 0).info("a", 0, 4, 1).data(64), "offset 4, expected a multiple of 32"},
		"offset":          {header(1, 0).info("a", 0, 1<<40, 1).data(64), "which have 64"},
		"wrapping offset": {header(1, 0).info("a", 0, -32&math.MaxUint64, 16).data(64), "which have 64"},
		"cut data":        {header(1, 0).info("a", 0, 32, 9).data(64), "takes bytes 32 to 68 of the data, which have 64"},
		"no data":         {header(1, 0).info("a", 0, 0, 1).Bytes(), "which have 0"},
		"tensor twice":    {header(2, 0).info("a", 0, 0, 1).info("a", 0, 32, 1).data(64), `tensor "a" occurs twice`},
		"overlap":         {header(2, 0).info("a", 0, 32, 1).info("b", 0, 0, 9).data(64), `tensor "a" at offset 32 begins within tensor "b"`},
		"same place":      {header(2, 0).info("a", 0, 0, 1).info("b", 0, 0, 1).data(64), "begins within"},
		"shard":           {header(0, 1).text(splitCount).u32(4).u32(3).data(0), "one of 3 shards"},
	}
}

func TestHostile(t *testing.T) {
	for name, c := range hostile() {
		if f, err := Parse(c.file); err == nil || f != nil || !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: got %v, expected %q", name, err, c.err)
		}
	}
}

// What a file announces is compared with its length before memory is taken for it.
func TestHostileTakesNoMemory(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, c := range hostile() {
		Parse(c.file)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
		t.Errorf("%d bytes allocated for files of some hundred bytes", n)
	}
}

// Every file that is cut off gives an error or has all its tensors.
func TestCutOff(t *testing.T) {
	b := write(t, pairs, tensor("a", block.F32, 3), tensor("b", block.Q4_0, 2, 64))
	end := len(b) - (-72 & 31) // without the padding
	for n := range b {
		if _, err := Parse(b[:n]); (err == nil) != (n >= end) {
			t.Fatalf("%d of %d bytes: %v", n, len(b), err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range hostile() {
		f.Add(c.file)
	}
	f.Add(write(f, pairs, tensor("a", block.F32, 3), tensor("b", block.Q4_0, 2, 64)))
	f.Add(write(f, []Pair{{alignmentKey, uint32(8)}}, tensor("a", block.Q6_K, 256), tensor("b", block.F16, 1, 1, 1, 1)))
	if path, err := testkit.Find(f, "models/stories260K/stories260K-q4_0.gguf"); err == nil {
		b, err := os.ReadFile(filepath.Clean(path))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[:20000])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := Parse(b)
		if err != nil {
			return
		}
		again, err := Parse(write(t, file.Pairs(), sources(file)...))
		if err != nil {
			t.Fatal(err)
		}
		if len(again.Keys) != len(file.Keys) || len(again.Tensors) != len(file.Tensors) {
			t.Fatalf("%d keys and %d tensors became %d and %d", len(file.Keys), len(file.Tensors), len(again.Keys), len(again.Tensors))
		}
		for i, x := range file.Tensors {
			if !bytes.Equal(x.Data, again.Tensors[i].Data) {
				t.Fatalf("tensor %q has other bytes", x.Name)
			}
		}
	})
}
