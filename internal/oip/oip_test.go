package oip

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/tensor"
)

func TestClassify(t *testing.T) {
	nan := float32(math.NaN())
	for _, c := range []struct {
		in      *tensor.Tensor
		k       int
		batched bool
		labels  []string
		want    string
		shape   []int
	}{
		{tensor.FromSlice([]float32{1.1, 3.3, 0.5, 2.4}), 2, false, nil, "3.3:1 2.4:3", []int{2}},
		{tensor.FromSlice([]float32{1, 5, 10, 4}, 1, 4), 2, true, []string{"pear", "pickle", "apple"}, "10:2:apple 5:1:pickle", []int{1, 2}},
		{tensor.FromSlice([]float32{1, 2, 2, 1}, 2, 2), 9, true, nil, "2:1 1:0 2:0 1:1", []int{2, 2}},
		{tensor.FromSlice([]float32{1, 2, 2, 1}, 2, 2), 3, false, nil, "2:1 2:2 1:0", []int{3}},
		{tensor.FromSlice([]float32{nan, -1, nan, 7}), 4, false, nil, "7:3 -1:1 NaN:0 NaN:2", []int{4}},
		{tensor.FromSlice([]int64{math.MinInt64, math.MaxInt64, math.MaxInt64 - 1}), 2, false, nil, "9223372036854775807:1 9223372036854775806:2", []int{2}},
		{&tensor.Tensor{DType: dtype.Float16, Shape: []int{2}, Data: []byte{0, 0x3c, 0, 0x40}}, 1, false, nil, "2:1", []int{1}},
		{tensor.FromSlice([]float32{}, 0, 4), 2, true, nil, "", []int{0, 2}},
		{tensor.FromSlice([]uint8{3, 9}), 0, false, nil, "", []int{0}},
	} {
		out, err := Classify(c.in, c.k, c.batched, c.labels)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(out.Strings, " "); got != c.want || out.String() != (&tensor.Tensor{DType: dtype.String, Shape: c.shape}).String() {
			t.Errorf("top %d of %s: %q %s, want %q %v", c.k, c.in, got, out, c.want, c.shape)
		}
	}
	if _, err := Classify(tensor.FromStrings([]string{"a"}), 1, false, nil); err == nil {
		t.Error("strings are classified")
	}
}

func TestElements(t *testing.T) {
	for _, c := range []struct {
		shape []int
		want  int
		err   string
	}{
		{nil, 1, ""}, {[]int{2, 3}, 6, ""}, {[]int{0, 1 << 62, 1 << 62}, 0, ""}, {[]int{-1}, 0, "negative"}, {[]int{0, -1}, 0, "negative"},
		{[]int{1 << 32, 1 << 32}, 0, "memory"}, {[]int{math.MaxInt, math.MaxInt, math.MaxInt}, 0, "memory"},
	} {
		n, err := Elements(c.shape)
		if n != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%v: %d, %v", c.shape, n, err)
		}
	}
}

func TestRaw(t *testing.T) {
	strs := []string{"", "a", "\x00\xff", strings.Repeat("x", 300)}
	in := tensor.FromStrings(strs, 2, 2)
	raw := AppendStrings(nil, strs)
	if len(raw) != RawSize(in) {
		t.Errorf("raw size %d, want %d", RawSize(in), len(raw))
	}
	out := &tensor.Tensor{DType: dtype.String, Shape: []int{2, 2}}
	if err := SetRaw(out, 4, raw); err != nil || strings.Join(out.Strings, "|") != strings.Join(strs, "|") {
		t.Errorf("%q, %v", out.Strings, err)
	}
	for name, c := range map[string]struct {
		dt   dtype.Type
		n    int
		raw  string
		want string
	}{
		"too short":     {dtype.Float32, 2, "1234", "takes 8 bytes, found 4"},
		"too long":      {dtype.Int8, 1, "12", "takes 1 bytes, found 2"},
		"bool":          {dtype.Bool, 2, "\x01\x02", "found 2 at element 1"},
		"many strings":  {dtype.String, 1 << 50, "1234", "at least"},
		"few strings":   {dtype.String, 2, "\x04\x00\x00\x00abcd", "found only 1"},
		"long string":   {dtype.String, 1, "\xff\xff\xff\xffabcd", "4294967295 bytes, 4 are left"},
		"after strings": {dtype.String, 1, "\x00\x00\x00\x00abcd", "4 bytes follow"},
		"half a length": {dtype.String, 2, "\x02\x00\x00\x00abc\x00", "found only 1"},
	} {
		err := SetRaw(&tensor.Tensor{DType: c.dt, Shape: []int{c.n}}, c.n, []byte(c.raw))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestSetParameter(t *testing.T) {
	var r serve.Request
	ok := func(name string, p Param) {
		t.Helper()
		if err := SetParameter(&r, name, p); err != nil {
			t.Error(err)
		}
	}
	ok("priority", Param{Kind: ParamInt, Int: 3})
	ok("timeout", Param{Kind: ParamInt, Int: 1500})
	ok("sequence_id", Param{Kind: ParamInt})
	ok("sequence_start", Param{Kind: ParamBool})
	ok("my_own", Param{Kind: ParamFloat, Float: 1.5})
	if r.Priority != 3 || r.Timeout != 1500*time.Microsecond {
		t.Errorf("%+v", r)
	}
	for name, p := range map[string]Param{
		"priority": {Kind: ParamInt, Int: -1}, "timeout": {Kind: ParamText, Text: "5"}, "sequence_id": {Kind: ParamText, Text: "abc"},
		"sequence_start": {Kind: ParamBool, Bool: true}, "sequence_end": {Kind: ParamBool, Bool: true},
	} {
		if err := SetParameter(&r, name, p); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s=%s: %v", name, p, err)
		}
	}
	ok("timeout", Param{Kind: ParamInt, Int: math.MaxInt64})
	if r.Timeout <= 0 {
		t.Error("a huge timeout overflows:", r.Timeout)
	}
}

func TestDatatype(t *testing.T) {
	for _, n := range []string{"BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "BF16", "FP32", "FP64", "BYTES"} {
		if d := Datatype([]byte(n)); d.OIP() != n {
			t.Errorf("%s reads as %s", n, d)
		}
	}
	if Datatype("fp32") != dtype.Invalid || Datatype("") != dtype.Invalid {
		t.Error("unknown names are datatypes")
	}
}
