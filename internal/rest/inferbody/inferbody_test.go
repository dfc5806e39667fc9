package inferbody

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/tensor"
)

// in makes a request with one input of the given fields.
func in(fields string) string { return `{"inputs":[{` + fields + `}]}` }

// show prints the inputs of a decoded request.
func show(c *Call) string {
	var b []string
	for _, in := range c.Req.Inputs {
		out, err := appendData(nil, in.Tensor)
		if err != nil {
			out = fmt.Appendf(nil, "%x", in.Tensor.Data)
		}
		b = append(b, fmt.Sprintf("%s %s %s", in.Name, in.Tensor, out))
	}
	return strings.Join(b, "; ")
}

func TestDecode(t *testing.T) {
	for name, c := range map[string]struct{ json, binary, want string }{
		"flat":            {in(`"name":"x","shape":[2,2],"datatype":"FP32","data":[1,2.5,-3e2,4]`), "", "x float32[2,2] 1.0,2.5,-300.0,4.0"},
		"nested":          {in(`"name":"x","shape":[2,2],"datatype":"FP32","data":[[1,2],[3,4]]`), "", "x float32[2,2] 1.0,2.0,3.0,4.0"},
		"nested deep":     {in(`"name":"x","shape":[2,1,3],"datatype":"INT8","data":[[[1,2,3]],[[-4,5,-128]]]`), "", "x int8[2,1,3] 1,2,3,-4,5,-128"},
		"data first":      {in(`"data":[[1,2],[3,4]],"name":"x","datatype":"UINT32","shape":[2,2]`), "", "x uint32[2,2] 1,2,3,4"},
		"white space":     {" {\n\"inputs\" : [ { \"name\" : \"x\" ,\t\"shape\" : [ 2 ] , \"datatype\" : \"INT32\" , \"data\" : [ 1 , 2 ]\r\n} ] } \n", "", "x int32[2] 1,2"},
		"scalar":          {in(`"name":"x","shape":[],"datatype":"FP64","data":[0.1]`), "", "x float64[] 0.1"},
		"empty":           {in(`"name":"x","shape":[0,3],"datatype":"FP32","data":[]`), "", "x float32[0,3] "},
		"empty rows":      {in(`"name":"x","shape":[2,0],"datatype":"FP32","data":[[],[]]`), "", "x float32[2,0] "},
		"bool":            {in(`"name":"x","shape":[4],"datatype":"BOOL","data":[true,false,1,0]`), "", "x bool[4] true,false,true,false"},
		"int64":           {in(`"name":"x","shape":[3],"datatype":"INT64","data":[9007199254740993,-9223372036854775808,9223372036854775807]`), "", "x int64[3] 9007199254740993,-9223372036854775808,9223372036854775807"},
		"uint64":          {in(`"name":"x","shape":[1],"datatype":"UINT64","data":[18446744073709551615]`), "", "x uint64[1] 18446744073709551615"},
		"bytes":           {in(`"name":"x","shape":[1,3],"datatype":"BYTES","data":[["a","\u00e9\n","\ud83d\ude00"]]`), "", `x string[1,3] "a","é\n","😀"`},
		"not finite":      {in(`"name":"x","shape":[6],"datatype":"FP32","data":[NaN,Infinity,-Infinity,"NaN","Infinity","-Infinity"]`), "", `x float32[6] "NaN","Infinity","-Infinity","NaN","Infinity","-Infinity"`},
		"digits":          {in(`"name":"x","shape":[10],"datatype":"FP32","data":[0,1,2,3,4,5,6,7,8,9]`), "", "x float32[10] 0.0,1.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0,9.0"},
		"digits, others":  {in(`"name":"x","shape":[11],"datatype":"FP32","data":[0,9,0,1,0.5,-1,1, 2,3,4,5]`), "", "x float32[11] 0.0,9.0,0.0,1.0,0.5,-1.0,1.0,2.0,3.0,4.0,5.0"},
		"rows of digits":  {in(`"name":"x","shape":[2,5],"datatype":"FP32","data":[[1,2,3,4,5],[6,7,8,9,0]]`), "", "x float32[2,5] 1.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0,9.0,0.0"},
		"ties":            {in(`"name":"x","shape":[2],"datatype":"FP32","data":[16777217,16777219]`), "", "x float32[2] 1.6777216e+07,1.677722e+07"},
		"binary":          {in(`"name":"x","shape":[2],"datatype":"INT16","parameters":{"binary_data_size":4}`), "\x01\x00\xff\xff", "x int16[2] 1,-1"},
		"two binary":      {`{"inputs":[{"name":"x","shape":[1],"datatype":"UINT8","parameters":{"binary_data_size":1}},{"name":"j","shape":[1],"datatype":"UINT8","data":[7]},{"name":"y","shape":[2],"datatype":"BOOL","parameters":{"binary_data_size":2}}]}`, "\x05\x01\x00", "x uint8[1] 5; j uint8[1] 7; y bool[2] true,false"},
		"binary bytes":    {in(`"name":"x","shape":[2],"datatype":"BYTES","parameters":{"binary_data_size":10}`), "\x02\x00\x00\x00hi\x00\x00\x00\x00", `x string[2] "hi",""`},
		"binary half":     {in(`"name":"x","shape":[1],"datatype":"FP16","parameters":{"binary_data_size":2}`), "\x00\x3c", "x float16[1] 003c"},
		"no input":        {`{"inputs":[]}`, "", ""},
		"escaped name":    {in(`"na\u006de":"\u0078","shape":[1],"datatype":"INT32","data":[1]`), "", "x int32[1] 1"},
		"model name":      {`{"model_name":"m","inputs":[]}`, "", ""},
		"own parameter":   {`{"parameters":{"mine":[1][0]},"inputs":[]}`, "", "expected a string, a number, true or false"},
		"own parameters":  {`{"parameters":{"a":1,"b":"x\ty","c":true,"d":1.5e300,"sequence_id":0},"inputs":[]}`, "", ""},
		"escaped strings": {in(`"name":"x","shape":[1],"datatype":"BYTES","data":["]\"[\\"]`), "", `x string[1] "]\"[\\"`},
		"strings first":   {in(`"data":["]\"[\\"],"name":"x","shape":[1],"datatype":"BYTES"`), "", `x string[1] "]\"[\\"`},

		"nothing":           {"", "", `byte 0: expected an inference request, '{', found its end`},
		"an array":          {"[]", "", "expected an inference request, '{'"},
		"cut":               {`{"inputs":[{"name":"x"`, "", "expected ',' or '}', found its end"},
		"cut in data":       {`{"inputs":[{"name":"x","shape":[3],"datatype":"FP32","data":[1,2`, "", "expected ',' or ']', found its end"},
		"cut in skipped":    {`{"inputs":[{"data":[1,2`, "", "expected ']' at the end of an array"},
		"trailing":          {`{"inputs":[]} x`, "", `expected nothing after the request's object, found "x"`},
		"trailing zero":     {"{\"inputs\":[]}\x00", "", "expected nothing after"},
		"no inputs":         {`{"id":"1"}`, "", `field "inputs" is missing`},
		"unknown field":     {`{"inputs":[],"input":1}`, "", `expected one of the request's fields id, parameters, inputs, outputs, found "input"`},
		"unknown in input":  {in(`"name":"x","dtype":"FP32"`), "", `input "x": request's JSON, byte 31: expected one of an input's fields name, datatype, shape, parameters, data, found "dtype"`},
		"twice":             {`{"inputs":[],"inputs":[]}`, "", "expected each field once"},
		"shape twice":       {in(`"name":"x","shape":[1],"shape":[2]`), "", "expected each field once"},
		"no name":           {in(`"shape":[1],"datatype":"FP32","data":[1]`), "", `input 0: request's JSON, byte 53: the field "name" is missing`},
		"no data":           {in(`"name":"x","shape":[1],"datatype":"FP32"`), "", `input "x": request's JSON, byte 53: expected the field "data" or the parameter "binary_data_size", found neither`},
		"both":              {in(`"name":"x","shape":[1],"datatype":"FP32","data":[1],"parameters":{"binary_data_size":4}`), "\x00\x00\x00\x00", "found both"},
		"few":               {in(`"name":"x","shape":[2,2],"datatype":"FP32","data":[1,2,3]`), "", `expected 4 elements for shape [2 2], found 3`},
		"few digits":        {in(`"name":"x","shape":[10],"datatype":"FP32","data":[1,2,3,4,5,6,7,8,9]`), "", `expected 10 elements for shape [10], found 9`},
		"many digits":       {in(`"name":"x","shape":[8],"datatype":"FP32","data":[1,2,3,4,5,6,7,8,9]`), "", `expected 8 elements for shape [8], found 9`},
		"no digit":          {in(`"name":"x","shape":[8],"datatype":"FP32","data":[1,2,3,:,5,6,7,8]`), "", `byte 67: data: expected a number for FP32, found ":"`},
		"no comma":          {in(`"name":"x","shape":[8],"datatype":"FP32","data":[1,2,3,4;5,6,7,8]`), "", `byte 68: data: expected ',' or ']', found ";5"`},
		"many":              {in(`"name":"x","shape":[2],"datatype":"FP32","data":[1,2,3]`), "", `expected 2 elements for shape [2], found 3`},
		"few nested":        {in(`"name":"x","shape":[2,2],"datatype":"FP32","data":[[1,2],[3]]`), "", `expected 4 elements for shape [2 2], found 3`},
		"few rows":          {in(`"name":"x","shape":[2,2],"datatype":"FP32","data":[[1,2]]`), "", `expected 4 elements for shape [2 2], found 2`},
		"many rows":         {in(`"name":"x","shape":[1,2],"datatype":"FP32","data":[[1,2],[3,4]]`), "", `expected 2 elements for shape [1 2], found 4`},
		"ragged":            {in(`"name":"x","shape":[2,2],"datatype":"FP32","data":[[1],[2,3,4]]`), "", `expected 4 elements for shape [2 2], found 4`},
		"wrong nesting":     {in(`"name":"x","shape":[2,2],"datatype":"FP32","data":[[[1,2],[3,4]]]`), "", "expected a flat array or one nested 2 deep as the shape [2 2] is, found one nested 3 deep"},
		"nested in flat":    {in(`"name":"x","shape":[2],"datatype":"FP32","data":[1,[2]]`), "", "expected 2 elements for shape [2], found 2"},
		"nothing in full":   {in(`"name":"x","shape":[2],"datatype":"FP32","data":[]`), "", "expected 2 elements for shape [2], found 0"},
		"elements in empty": {in(`"name":"x","shape":[0],"datatype":"FP32","data":[1]`), "", "expected 0 elements for shape [0], found 1"},
		"deep":              {in(`"name":"x","shape":[1],"datatype":"FP32","data":` + strings.Repeat("[", 100000)), "", "nested 33 deep"},
		"deep skipped":      {in(`"data":` + strings.Repeat("[", 100000)), "", "expected arrays nested at most 32 deep"},
		"deep parameter":    {`{"parameters":{"a":` + strings.Repeat("[", 100000), "", "expected a string, a number, true or false"},
		"an object":         {in(`"name":"x","data":[{}]`), "", `expected tensor elements, found "{"`},
		"null":              {in(`"name":"x","shape":[1],"datatype":"FP32","data":[null]`), "", `expected a number for FP32, found "null"`},
		"string for FP32":   {in(`"name":"x","shape":[1],"datatype":"FP32","data":["1"]`), "", "expected a number for FP32"},
		"number for BYTES":  {in(`"name":"x","shape":[1],"datatype":"BYTES","data":[1]`), "", "expected data: a string for BYTES"},
		"fraction":          {in(`"name":"x","shape":[1],"datatype":"INT32","data":[1.5]`), "", `expected an integer for INT32, found "1.5"`},
		"range":             {in(`"name":"x","shape":[1],"datatype":"UINT8","data":[256]`), "", `expected a value in the range of UINT8, found "256"`},
		"huge float":        {in(`"name":"x","shape":[1],"datatype":"FP32","data":[1e39]`), "", `expected a value in the range of FP32, found "1e39"`},
		"bool of 2":         {in(`"name":"x","shape":[1],"datatype":"BOOL","data":[2]`), "", "range of BOOL"},
		"bool of text":      {in(`"name":"x","shape":[1],"datatype":"BOOL","data":["true"]`), "", "expected true or false for BOOL"},
		"half":              {in(`"name":"x","shape":[1],"datatype":"FP16","data":[1]`), "", "JSON has no numbers for FP16; send the tensor in binary form"},
		"bfloat":            {in(`"name":"x","shape":[1],"datatype":"BF16","data":[1]`), "", "JSON has no numbers for BF16"},
		"datatype":          {in(`"name":"x","shape":[1],"datatype":"FLOAT","data":[1]`), "", `found "FLOAT"`},
		"negative":          {in(`"name":"x","shape":[-1],"datatype":"FP32","data":[1]`), "", "expected no negative dimension in a request's shape, found [-1]"},
		"fractional dim":    {in(`"name":"x","shape":[1.0],"datatype":"FP32","data":[1]`), "", `expected a dimension, an integer of at least 0, found "1.0"`},
		"overflow":          {in(`"name":"x","shape":[4294967296,4294967296,4294967296],"datatype":"FP32","data":[1]`), "", "more elements than memory can hold"},
		"big dim":           {in(`"name":"x","shape":[99999999999999999999],"datatype":"FP32","data":[1]`), "", "expected a dimension"},
		"huge":              {in(`"name":"x","shape":[1000000000000],"datatype":"FP32","data":[1]`), "", "expected 1000000000000 elements for shape [1000000000000], found fewer"},
		"huge strings":      {in(`"name":"x","shape":[1000000000000],"datatype":"BYTES","parameters":{"binary_data_size":4}`), "1234", "takes at least 4000000000000 bytes"},
		"rank":              {in(`"name":"x","shape":[` + strings.Repeat("1,", 40) + `1],"datatype":"FP32","data":[1]`), "", "at most 32 dimensions"},
		"size":              {in(`"name":"x","shape":[2],"datatype":"INT16","parameters":{"binary_data_size":3}`), "abc", `input "x": INT16 [2] takes 4 bytes, found 3`},
		"size beyond":       {in(`"name":"x","shape":[2],"datatype":"INT16","parameters":{"binary_data_size":4}`), "abc", "binary_data_size is 4, but 3 bytes of the body are left"},
		"negative size":     {in(`"name":"x","shape":[2],"datatype":"INT16","parameters":{"binary_data_size":-4}`), "abcd", "expected an integer of at least 0, found -4"},
		"left over":         {in(`"name":"x","shape":[1],"datatype":"INT16","parameters":{"binary_data_size":2}`), "abcd", "4 bytes after its JSON, the inputs' binary_data_size account for 2"},
		"binary for none":   {`{"inputs":[]}`, "a", "1 bytes after its JSON"},
		"shared memory":     {in(`"name":"x","shape":[1],"datatype":"INT16","parameters":{"shared_memory_region":"r"}`), "", "shared memory is not supported"},
		"sequence":          {`{"parameters":{"sequence_id":7},"inputs":[]}`, "", "sequences are not supported"},
		"other model":       {`{"model_name":"other","inputs":[]}`, "", `model_name is "other", but the request's path says "m"`},
		"output field":      {`{"inputs":[],"outputs":[{"name":"y","dtype":"x"}]}`, "", `expected one of an output's fields name, parameters, found "dtype"`},
		"output no name":    {`{"inputs":[],"outputs":[{}]}`, "", "expected an output with a name"},
		"output parameter":  {`{"inputs":[],"outputs":[{"name":"y","parameters":{"binary_data":"yes"}}]}`, "", `output "y": parameter "binary_data": expected true or false, found "yes"`},
		"classes":           {`{"inputs":[],"outputs":[{"name":"y","parameters":{"classification":-2}}]}`, "", "expected an integer of at least 0, found -2"},
		"bad utf-8":         {in("\"name\":\"x\",\"shape\":[1],\"datatype\":\"BYTES\",\"data\":[\"\xff\"]"), "", "expected UTF-8 in a string"},
		"control":           {in("\"name\":\"a\nb\""), "", "expected no control character in a string"},
		"bad escape":        {in(`"name":"\x"`), "", "expected an escape of JSON"},
		"half a pair":       {in(`"name":"\ud83d"`), "", "expected an escape of JSON"},
		"wrong pair":        {in(`"name":"\ud83d\u0041"`), "", "expected an escape of JSON"},
		"comma":             {in(`"name":"x","shape":[2],"datatype":"FP32","data":[1,2,]`), "", "expected 2 elements for shape [2]"},
		"comma in object":   {`{"inputs":[],}`, "", "expected a field's name"},
		"leading zero":      {in(`"name":"x","shape":[1],"datatype":"FP32","data":[01]`), "", `expected a number for FP32, found "01"`},
	} {
		t.Run(name, func(t *testing.T) {
			var call Call
			for range 2 { // the second time over used memory
				call.Reset(1 << 20)
				call.Req.Model = "m"
				err := call.Decode([]byte(c.json), []byte(c.binary))
				if err != nil {
					var e *serve.Error
					if !errors.As(err, &e) || e.Kind != serve.InvalidArgument || !strings.Contains(err.Error(), c.want) || c.want == "" || len(err.Error()) > 400 {
						t.Fatalf("error %v, want %q", err, c.want)
					}
					continue
				}
				if got := show(&call); got != c.want {
					t.Fatalf("got  %s\nwant %s", got, c.want)
				}
			}
		})
	}
}

func TestDecodeRequest(t *testing.T) {
	var c Call
	err := c.Decode([]byte(`{"id":"42","parameters":{"priority":2,"timeout":1000,"binary_data_output":true},"inputs":[],
		"outputs":[{"name":"a"},{"name":"b","parameters":{"binary_data":false,"classification":3}},{"name":"c","parameters":{"binary_data":true}}]}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Req.ID != "42" || c.Req.Priority != 2 || c.Req.Timeout != time.Millisecond || !slices.Equal(c.Req.Outputs, []string{"a", "b", "c"}) {
		t.Errorf("%+v", c.Req)
	}
	var got string
	for i := range 3 {
		binary, classes := c.Wants(i)
		got += fmt.Sprintln(binary, classes)
	}
	if got != "true 0\nfalse 3\ntrue 0\n" {
		t.Errorf("wants %s", got)
	}
}

func TestEncode(t *testing.T) {
	f32 := tensor.FromSlice([]float32{1, 0.1, float32(math.NaN()), float32(math.Inf(-1))}, 2, 2)
	half := &tensor.Tensor{DType: dtype.Float16, Shape: []int{1}, Data: []byte{0, 0x3c}}
	for name, c := range map[string]struct {
		out    serve.NamedTensor
		binary bool
		want   string
	}{
		"FP32":       {serve.NamedTensor{Name: "y", Tensor: f32}, false, `{"name":"y","datatype":"FP32","shape":[2,2],"data":[1.0,0.1,"NaN","-Infinity"]}`},
		"binary":     {serve.NamedTensor{Name: "y", Tensor: f32}, true, `{"name":"y","datatype":"FP32","shape":[2,2],"parameters":{"binary_data_size":16}}`},
		"INT64":      {serve.NamedTensor{Name: "y", Tensor: tensor.FromSlice([]int64{math.MinInt64, 9007199254740993})}, false, `{"name":"y","datatype":"INT64","shape":[2],"data":[-9223372036854775808,9007199254740993]}`},
		"UINT64":     {serve.NamedTensor{Name: "y", Tensor: tensor.FromSlice([]uint64{math.MaxUint64})}, false, `{"name":"y","datatype":"UINT64","shape":[1],"data":[18446744073709551615]}`},
		"BOOL":       {serve.NamedTensor{Name: "y", Tensor: tensor.FromSlice([]bool{true, false})}, false, `{"name":"y","datatype":"BOOL","shape":[2],"data":[true,false]}`},
		"BYTES":      {serve.NamedTensor{Name: "y\"\\\x01", Tensor: tensor.FromStrings([]string{"a\"b\\\n\t\r\x1f", "é"})}, false, `{"name":"y\"\\\u0001","datatype":"BYTES","shape":[2],"data":["a\"b\\\n\t\r\u001f","é"]}`},
		"BYTES raw":  {serve.NamedTensor{Name: "y", Tensor: tensor.FromStrings([]string{"\xff"})}, true, `{"name":"y","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":5}}`},
		"scalar":     {serve.NamedTensor{Name: "y", Tensor: tensor.Scalar(float64(0.1))}, false, `{"name":"y","datatype":"FP64","shape":[],"data":[0.1]}`},
		"FP16":       {serve.NamedTensor{Name: "y", Tensor: half}, true, `{"name":"y","datatype":"FP16","shape":[1],"parameters":{"binary_data_size":2}}`},
		"FP16 text":  {serve.NamedTensor{Name: "y", Tensor: half}, false, `output "y": JSON has no numbers for FP16; ask for it in binary form (parameter "binary_data": true)`},
		"not UTF-8":  {serve.NamedTensor{Name: "y", Tensor: tensor.FromStrings([]string{"\xff"})}, false, `output "y": element 0 is not UTF-8, so JSON can't hold it; ask for it in binary form (parameter "binary_data": true)`},
		"no datype":  {serve.NamedTensor{Name: "y", Tensor: &tensor.Tensor{DType: dtype.Complex64}}, true, `output "y" is complex64, for which the protocol has no datatype; leave it out of the outputs`},
		"no element": {serve.NamedTensor{Name: "y", Tensor: tensor.New(dtype.Int8, 0, 3)}, false, `{"name":"y","datatype":"INT8","shape":[0,3],"data":[]}`},
	} {
		call := Call{binaryAll: c.binary}
		b, has, err := call.AppendJSON(nil, &serve.Response{Model: "m", Version: "1", ID: "i", Outputs: []serve.NamedTensor{c.out}})
		if err != nil {
			if err.Error() != c.want {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		want := `{"model_name":"m","model_version":"1","id":"i","outputs":[` + c.want + `]}`
		if string(b) != want || has != c.binary || !json.Valid(b) {
			t.Errorf("%s: %s\nwant %s", name, b, want)
		}
	}
}

// What Decode accepts is JSON (but for bare NaN and infinities), and reads the same as encoding/json reads it.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(in(`"name":"x","shape":[2,2],"datatype":"FP32","data":[[1,2.5],[-3e2,4]]`)), 0)
	f.Add([]byte(in(`"data":["a","\ud83d\ude00"],"name":"x","shape":[2],"datatype":"BYTES"`)), 0)
	f.Add([]byte(in(`"name":"x","shape":[2],"datatype":"INT16","parameters":{"binary_data_size":4}`)+"abcd"), 4)
	f.Add([]byte(`{"id":"1","parameters":{"a":true,"timeout":5},"inputs":[],"outputs":[{"name":"y","parameters":{"classification":3}}]}`), 0)
	f.Add([]byte(in(`"name":"x","shape":[2,0],"datatype":"UINT64","data":[[],[]]`)), 0)
	var c Call
	f.Fuzz(func(t *testing.T, body []byte, binary int) {
		cut := len(body) - min(max(binary, 0), len(body))
		c.Reset(1 << 16)
		if err := c.Decode(body[:cut], body[cut:]); err != nil {
			return
		}
		text := body[:cut]
		if !json.Valid(text) && !bytes.Contains(text, []byte("NaN")) && !bytes.Contains(text, []byte("Infinity")) {
			t.Fatalf("%q is not JSON", text)
		}
		for _, in := range c.Req.Inputs {
			n := tensor.Count(in.Tensor.Shape)
			if in.Tensor.DType == dtype.String && len(in.Tensor.Strings) != n || in.Tensor.DType != dtype.String && len(in.Tensor.Data) != in.Tensor.DType.Bytes(n) {
				t.Fatalf("%q: input %s has %d bytes, %d strings", text, in.Tensor, len(in.Tensor.Data), len(in.Tensor.Strings))
			}
		}
		var std struct{ Inputs []struct{ Name string } }
		if json.Unmarshal(text, &std) == nil && len(std.Inputs) == len(c.Req.Inputs) {
			for i := range std.Inputs {
				if std.Inputs[i].Name != c.Req.Inputs[i].Name && !bytes.Contains(text, []byte(`"N`)) && !bytes.Contains(text, []byte(`\u`)) {
					t.Fatalf("%q: name %q, encoding/json says %q", text, c.Req.Inputs[i].Name, std.Inputs[i].Name)
				}
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	digit := tensor.New(dtype.Float32, 1, 1, 28, 28)
	for i := range tensor.Of[float32](digit) {
		tensor.Of[float32](digit)[i] = float32(i%255) / 255
	}
	data, _ := appendData(nil, digit)
	text := []byte(in(`"name":"image","shape":[1,1,28,28],"datatype":"FP32","data":[` + string(data) + `]`))
	ground := []byte(in(`"name":"image","shape":[1,1,28,28],"datatype":"FP32","data":[` + strings.Repeat("0,", 783) + `0]`))
	header := []byte(in(`"name":"image","shape":[1,1,28,28],"datatype":"FP32","parameters":{"binary_data_size":3136}`))
	for name, body := range map[string][2][]byte{"json": {text, nil}, "ground": {ground, nil}, "binary": {header, digit.Data}} {
		b.Run(name, func(b *testing.B) {
			var c Call
			b.SetBytes(int64(len(body[0])))
			b.ReportAllocs()
			for b.Loop() {
				c.Reset(1 << 20)
				if err := c.Decode(body[0], body[1]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
