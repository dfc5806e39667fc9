package grpcapi

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	gproto "google.golang.org/protobuf/proto"

	pb "github.com/salver-ml/salver/api/oip"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/tensor"
)

// Lists may come packed, unpacked, or in parts, in any order of the fields: protobuf reads all of them.
func TestDecodeForms(t *testing.T) {
	tag := protowire.AppendTag
	packed := func(values ...uint32) []byte {
		var b []byte
		for _, v := range values {
			b = protowire.AppendFixed32(b, v)
		}
		return protowire.AppendBytes(tag(nil, fp32Contents, protowire.BytesType), b)
	}
	single := func(v uint32) []byte {
		return protowire.AppendFixed32(tag(nil, fp32Contents, protowire.Fixed32Type), v)
	}
	for name, contents := range map[string][][]byte{
		"packed":   {packed(1, 2, 3)},
		"unpacked": {slices.Concat(single(1), single(2), single(3))},
		"parts":    {slices.Concat(packed(1), single(2), packed(3))},
		"messages": {packed(1, 2), packed(3)},
		"empty":    {packed(), packed(1, 2, 3), packed()},
	} {
		in := message{}.text(2, "FP32").text(1, "x")
		for _, c := range contents {
			in = in.inner(5, c)
		}
		in = protowire.AppendVarint(tag(in, 3, protowire.VarintType), 3) // the shape, unpacked and last
		in = protowire.AppendVarint(tag(in, 99, protowire.VarintType), 3)
		wire := message{}.inner(5, in).text(1, "m")
		var std pb.ModelInferRequest
		if err := gproto.Unmarshal(wire, &std); err != nil {
			t.Fatal(err)
		}
		c := new(call)
		if err := c.decode(wire); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		x := c.req.Inputs[0]
		if c.req.Model != "m" || x.Name != "x" || !slices.Equal(x.Tensor.Shape, []int{3}) || !slices.Equal(tensor.Of[float32](x.Tensor), std.Inputs[0].Contents.Fp32Contents) {
			t.Errorf("%s: %+v %v", name, x, tensor.Of[uint32](x.Tensor))
		}
	}
	for name, wire := range map[string][]byte{
		"cut":         {0x0a},
		"length":      {0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
		"group":       {0x0c},
		"field 0":     {0x02, 0x00},
		"cut input":   message{}.inner(5, []byte{0x0a, 0x05, 'x'}),
		"odd floats":  message{}.inner(5, message{}.text(1, "x").text(2, "FP32").inner(5, message{}.inner(fp32Contents, []byte{1, 2, 3}))),
		"not UTF-8":   message{}.text(1, "\xff"),
		"cut varints": message{}.inner(5, message{}.text(1, "x").text(2, "INT32").inner(5, message{}.inner(intContents, []byte{0x80}))),
	} {
		if err := new(call).decode(wire); err == nil || serve.AsError(err).Kind != serve.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An answer is what the generated code reads.
func TestEncode(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		resp := &serve.Response{Model: text(r), Version: "1", ID: text(r)}
		want := &pb.ModelInferResponse{ModelName: resp.Model, ModelVersion: "1", Id: resp.ID}
		for range r.IntN(4) {
			x := tensor.New([]dtype.Type{dtype.Float32, dtype.String, dtype.Int8, dtype.Float16}[r.IntN(4)], make([]int, r.IntN(3))...)
			for i := range x.Shape {
				x.Shape[i] = r.IntN(300)
			}
			x = tensor.New(x.DType, x.Shape...)
			name := text(r)
			resp.Outputs = append(resp.Outputs, serve.NamedTensor{Name: name, Tensor: x})
			o := &pb.ModelInferResponse_InferOutputTensor{Name: name, Datatype: x.DType.OIP()}
			for _, d := range x.Shape {
				o.Shape = append(o.Shape, int64(d))
			}
			want.Outputs = append(want.Outputs, o)
			raw := x.Data
			if x.DType == dtype.String {
				raw = make([]byte, 4*len(x.Strings))
			}
			want.RawOutputContents = append(want.RawOutputContents, raw)
		}
		size, err := responseSize(resp)
		if err != nil {
			t.Fatal(err)
		}
		e := encode(resp, size)
		if n := len(e.Bytes()); n > size {
			t.Fatalf("%d bytes, more than the bound %d", n, size)
		}
		var got pb.ModelInferResponse
		if err := gproto.Unmarshal(e.Bytes(), &got); err != nil || !gproto.Equal(&got, want) {
			t.Fatalf("%v\n%v\nwant\n%v", err, &got, want)
		}
	}
	bad := &serve.Response{Outputs: []serve.NamedTensor{{Name: "y", Tensor: tensor.New(dtype.Complex64, 1)}}}
	if _, err := responseSize(bad); err == nil {
		t.Error("complex64 has a datatype")
	}
	large := new(serve.Response)
	part := tensor.New(dtype.Uint8, 64<<20)
	for range 32 {
		large.Outputs = append(large.Outputs, serve.NamedTensor{Name: "y", Tensor: part})
	}
	if _, err := responseSize(large); err == nil || serve.AsError(err).Kind != serve.InvalidArgument || !strings.Contains(err.Error(), "a gRPC message at most 2147483647") {
		t.Errorf("2 GiB: %v", err)
	}
}

func text(r *rand.Rand) string { return string(make([]byte, r.IntN(200))) }

// No message makes decode panic, and what it takes is what the generated code takes.
func FuzzDecode(f *testing.F) {
	for _, r := range []*pb.ModelInferRequest{
		request("m", "FP32", "1234", 1),
		request("m", "BYTES", "\x02\x00\x00\x00hi", 1),
		{ModelName: "m", Outputs: classes(3), Parameters: map[string]*pb.InferParameter{"priority": {ParameterChoice: &pb.InferParameter_Uint64Param{Uint64Param: 1}}},
			Inputs: []*pb.ModelInferRequest_InferInputTensor{{Name: "x", Datatype: "INT64", Shape: []int64{2}, Contents: &pb.InferTensorContents{Int64Contents: []int64{-1, 1}}}}},
	} {
		b, err := gproto.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := new(call)
		if err := c.decode(b); err != nil {
			if serve.AsError(err).Kind != serve.InvalidArgument {
				t.Fatal(err)
			}
			return
		}
		for _, in := range c.req.Inputs {
			n := tensor.Count(in.Tensor.Shape)
			if in.Tensor.DType == dtype.String && len(in.Tensor.Strings) != n || in.Tensor.DType != dtype.String && len(in.Tensor.Data) != in.Tensor.DType.Bytes(n) {
				t.Fatalf("%s has %d bytes, %d strings", in.Tensor, len(in.Tensor.Data), len(in.Tensor.Strings))
			}
		}
		var std pb.ModelInferRequest
		if gproto.Unmarshal(b, &std) != nil {
			return // it is stricter with fields that decode does not read
		}
		if std.ModelName != c.req.Model || std.Id != c.req.ID || len(std.Inputs) != len(c.req.Inputs) || len(std.Outputs) != len(c.req.Outputs) {
			t.Fatalf("%+v, want %v", c.req, &std)
		}
		for i, in := range std.Inputs {
			if in.Name != c.req.Inputs[i].Name || in.Datatype != c.req.Inputs[i].Tensor.DType.OIP() {
				t.Fatalf("%+v, want %v", c.req.Inputs[i], in)
			}
		}
	})
}
