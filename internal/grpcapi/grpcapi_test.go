package grpcapi

import (
	"context"
	"errors"
	"math"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	gproto "google.golang.org/protobuf/proto"

	pb "github.com/salver-ml/salver/api/oip"
	"github.com/salver-ml/salver/api/oip/oipgrpc"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/limit"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/serve/servetest"
	"github.com/salver-ml/salver/internal/tensor"
)

// one is a model that copies an input of one datatype and any size.
func one(dt dtype.Type) *servetest.Backend {
	return &servetest.Backend{
		In:  []serve.TensorInfo{{Name: "x", DType: dt, Shape: []int{-1}}},
		Out: []serve.TensorInfo{{Name: "y", DType: dt, Shape: []int{-1}}},
	}
}

// failing is a model whose runs end in err.
func failing(err error) *servetest.Backend {
	b := one(dtype.Float32)
	b.Func = func(context.Context, []*tensor.Tensor) ([]*tensor.Tensor, error) { return nil, err }
	return b
}

func testCore(t testing.TB) *serve.Core {
	core := serve.New(serve.Options{Control: serve.ControlExplicit})
	add := func(name string, b *servetest.Backend) {
		if err := core.Register(name, 1, b, nil); err != nil {
			t.Fatal(err)
		}
	}
	add("identity", servetest.Identity(4))
	for dt := range dtype.Sequence {
		if dt.OIP() != "" {
			add(dt.OIP(), one(dt))
		}
	}
	slow := servetest.Identity(4)
	slow.Delay = 200 * time.Millisecond
	add("slow", slow)
	add("full", failing(&serve.Error{Kind: serve.ResourceExhausted, Message: "the queue is full", RetryAfter: 1500 * time.Millisecond}))
	add("broken", failing(errors.New("secret")))
	return core
}

// hold registers the model "held", whose runs end when answer is called.
func hold(t testing.TB, core *serve.Core) (answer func()) {
	gate := make(chan struct{})
	b := servetest.Identity(4)
	b.Func = func(ctx context.Context, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
		select {
		case <-gate:
			return in, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err := core.Register("held", 1, b, nil); err != nil {
		t.Fatal(err)
	}
	answer = sync.OnceFunc(func() { close(gate) })
	t.Cleanup(answer)
	return answer
}

// until waits for a condition that comes about on its own.
func until(t testing.TB, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come about")
		}
	}
}

// start serves on the loopback interface and connects to it.
func start(t testing.TB, core *serve.Core, o Options, dial ...grpc.DialOption) (*Server, *grpc.ClientConn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(core, o)
	go s.Serve(l)
	conn, err := grpc.NewClient(l.Addr().String(), append(dial, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		s.Drain(context.Background())
	})
	return s, conn
}

func client(t testing.TB, o Options) oipgrpc.GRPCInferenceServiceClient {
	_, conn := start(t, testCore(t), o)
	return oipgrpc.NewGRPCInferenceServiceClient(conn)
}

// request is one for the model of a datatype with raw contents.
func request(model, datatype string, raw string, shape ...int64) *pb.ModelInferRequest {
	return &pb.ModelInferRequest{
		ModelName: model, Id: "42",
		Inputs:           []*pb.ModelInferRequest_InferInputTensor{{Name: "x", Datatype: datatype, Shape: shape}},
		RawInputContents: [][]byte{[]byte(raw)},
	}
}

func TestRaw(t *testing.T) {
	c := client(t, Options{})
	for datatype, raw := range map[string]string{"FP32": "\x00\x00\x80\x3f\x00\x00\xa0\x40", "FP16": "\x00\x3c\x00\x40", "BF16": "\x80\x3f\x00\x40", "INT8": "\xff\x01", "BOOL": "\x01\x00",
		"BYTES": "\x02\x00\x00\x00hi\x00\x00\x00\x00", "INT64": "\x01\x00\x00\x00\x00\x00\x00\x80\xff\xff\xff\xff\xff\xff\xff\x7f"} {
		r, err := c.ModelInfer(t.Context(), request(datatype, datatype, raw, 2))
		if err != nil {
			t.Errorf("%s: %v", datatype, err)
			continue
		}
		if string(r.RawOutputContents[0]) != raw || r.Outputs[0].Datatype != datatype || r.Outputs[0].Name != "y" || r.Outputs[0].Shape[0] != 2 || r.Id != "42" || r.ModelName != datatype || r.ModelVersion != "1" {
			t.Errorf("%s: %v", datatype, r)
		}
	}
}

func TestTyped(t *testing.T) {
	c := client(t, Options{})
	for datatype, v := range map[string]struct {
		contents *pb.InferTensorContents
		raw      string
	}{
		"BOOL":   {&pb.InferTensorContents{BoolContents: []bool{true, false}}, "\x01\x00"},
		"INT8":   {&pb.InferTensorContents{IntContents: []int32{-128, 127}}, "\x80\x7f"},
		"INT16":  {&pb.InferTensorContents{IntContents: []int32{-32768, 1}}, "\x00\x80\x01\x00"},
		"INT32":  {&pb.InferTensorContents{IntContents: []int32{-1, 1}}, "\xff\xff\xff\xff\x01\x00\x00\x00"},
		"INT64":  {&pb.InferTensorContents{Int64Contents: []int64{math.MinInt64, 1}}, "\x00\x00\x00\x00\x00\x00\x00\x80\x01\x00\x00\x00\x00\x00\x00\x00"},
		"UINT8":  {&pb.InferTensorContents{UintContents: []uint32{255, 1}}, "\xff\x01"},
		"UINT16": {&pb.InferTensorContents{UintContents: []uint32{65535, 1}}, "\xff\xff\x01\x00"},
		"UINT32": {&pb.InferTensorContents{UintContents: []uint32{math.MaxUint32, 1}}, "\xff\xff\xff\xff\x01\x00\x00\x00"},
		"UINT64": {&pb.InferTensorContents{Uint64Contents: []uint64{math.MaxUint64, 1}}, "\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00\x00\x00\x00\x00\x00"},
		"FP32":   {&pb.InferTensorContents{Fp32Contents: []float32{1, 5}}, "\x00\x00\x80\x3f\x00\x00\xa0\x40"},
		"FP64":   {&pb.InferTensorContents{Fp64Contents: []float64{1, 2}}, "\x00\x00\x00\x00\x00\x00\xf0\x3f\x00\x00\x00\x00\x00\x00\x00\x40"},
		"BYTES":  {&pb.InferTensorContents{BytesContents: [][]byte{[]byte("hi"), {}}}, "\x02\x00\x00\x00hi\x00\x00\x00\x00"},
	} {
		r := request(datatype, datatype, "", 2)
		r.RawInputContents = nil
		r.Inputs[0].Contents = v.contents
		got, err := c.ModelInfer(t.Context(), r)
		if err != nil || string(got.RawOutputContents[0]) != v.raw {
			t.Errorf("%s: %v %v", datatype, got, err)
		}
	}
}

func TestErrors(t *testing.T) {
	c := client(t, Options{MaxMessage: 1 << 16})
	ok := request("FP32", "FP32", "\x00\x00\x80\x3f", 1)
	change := func(f func(*pb.ModelInferRequest)) *pb.ModelInferRequest {
		r := gproto.Clone(ok).(*pb.ModelInferRequest)
		f(r)
		return r
	}
	typed := func(c *pb.InferTensorContents, datatype string, shape ...int64) *pb.ModelInferRequest {
		r := request(datatype, datatype, "", shape...)
		r.RawInputContents, r.Inputs[0].Contents = nil, c
		return r
	}
	param := func(name string, v *pb.InferParameter) map[string]*pb.InferParameter {
		return map[string]*pb.InferParameter{name: v}
	}
	for name, v := range map[string]struct {
		r    *pb.ModelInferRequest
		code codes.Code
		want string
	}{
		"model":          {change(func(r *pb.ModelInferRequest) { r.ModelName = "nope" }), codes.NotFound, `no model is called "nope"`},
		"version":        {change(func(r *pb.ModelInferRequest) { r.ModelVersion = "7" }), codes.NotFound, `has no version "7"`},
		"name":           {change(func(r *pb.ModelInferRequest) { r.Inputs[0].Name = "z" }), codes.InvalidArgument, `input "z" is unknown; the model's inputs are ["x"]`},
		"datatype":       {change(func(r *pb.ModelInferRequest) { r.Inputs[0].Datatype = "FLOAT" }), codes.InvalidArgument, `found "FLOAT"`},
		"no datatype":    {change(func(r *pb.ModelInferRequest) { r.Inputs[0].Datatype = "" }), codes.InvalidArgument, `expected a datatype`},
		"other datatype": {change(func(r *pb.ModelInferRequest) { r.Inputs[0].Datatype = "INT32" }), codes.InvalidArgument, `expected datatype FP32, found INT32`},
		"size":           {change(func(r *pb.ModelInferRequest) { r.Inputs[0].Shape[0] = 2 }), codes.InvalidArgument, `input "x": FP32 [2] takes 8 bytes, found 4`},
		"negative":       {change(func(r *pb.ModelInferRequest) { r.Inputs[0].Shape[0] = -1 }), codes.InvalidArgument, `expected no negative dimension`},
		"overflow": {change(func(r *pb.ModelInferRequest) {
			r.Inputs[0].Shape = []int64{math.MaxInt64, math.MaxInt64, 4}
		}), codes.InvalidArgument, `more elements than memory can hold`},
		"rank": {change(func(r *pb.ModelInferRequest) { r.Inputs[0].Shape = make([]int64, 50) }), codes.InvalidArgument, `at most 32 dimensions`},
		"twice": {change(func(r *pb.ModelInferRequest) {
			r.Inputs = append(r.Inputs, r.Inputs[0])
			r.RawInputContents = append(r.RawInputContents, r.RawInputContents[0])
		}), codes.InvalidArgument, `is given twice`},
		"missing":        {change(func(r *pb.ModelInferRequest) { r.Inputs, r.RawInputContents = nil, nil }), codes.InvalidArgument, `input "x" (FP32 [-1]) is missing`},
		"raw count":      {change(func(r *pb.ModelInferRequest) { r.RawInputContents = append(r.RawInputContents, nil) }), codes.InvalidArgument, `each of the 1 inputs, found 2`},
		"both":           {change(func(r *pb.ModelInferRequest) { r.Inputs[0].Contents = &pb.InferTensorContents{} }), codes.InvalidArgument, `found both`},
		"neither":        {typed(nil, "FP32", 1), codes.InvalidArgument, `has 1 elements, found at most 0`},
		"wrong field":    {typed(&pb.InferTensorContents{IntContents: []int32{1}}, "FP32", 1), codes.InvalidArgument, `expected fp32_contents for FP32, found int_contents`},
		"few":            {typed(&pb.InferTensorContents{Fp32Contents: []float32{1}}, "FP32", 2), codes.InvalidArgument, `FP32 [2] has 2 elements, found 1 in its contents`},
		"many":           {typed(&pb.InferTensorContents{Fp32Contents: []float32{1, 2, 3}}, "FP32", 2), codes.InvalidArgument, `FP32 [2] has 2 elements, found 3 in its contents`},
		"many ints":      {typed(&pb.InferTensorContents{IntContents: []int32{1, 2, 3}}, "INT8", 2), codes.InvalidArgument, `found 3`},
		"many strings":   {typed(&pb.InferTensorContents{BytesContents: [][]byte{{}, {}, {}}}, "BYTES", 2), codes.InvalidArgument, `found 3`},
		"range":          {typed(&pb.InferTensorContents{IntContents: []int32{1, 128}}, "INT8", 2), codes.InvalidArgument, `element 1: expected a value in the range of INT8, found 128`},
		"unsigned range": {typed(&pb.InferTensorContents{UintContents: []uint32{65536}}, "UINT16", 1), codes.InvalidArgument, `found 65536`},
		"half":           {typed(&pb.InferTensorContents{Fp32Contents: []float32{1}}, "FP16", 1), codes.InvalidArgument, `FP16 has no typed contents; send it in raw_input_contents`},
		"huge":           {typed(&pb.InferTensorContents{Fp32Contents: []float32{1}}, "FP32", 1<<40), codes.InvalidArgument, `has 1099511627776 elements, found at most`},
		"output": {change(func(r *pb.ModelInferRequest) {
			r.Outputs = []*pb.ModelInferRequest_InferRequestedOutputTensor{{Name: "z"}}
		}), codes.InvalidArgument, `output "z" is unknown`},
		"shared memory": {change(func(r *pb.ModelInferRequest) {
			r.Inputs[0].Parameters = param("shared_memory_region", &pb.InferParameter{})
		}), codes.InvalidArgument, `shared memory is not supported`},
		"sequence": {change(func(r *pb.ModelInferRequest) {
			r.Parameters = param("sequence_id", &pb.InferParameter{ParameterChoice: &pb.InferParameter_Int64Param{Int64Param: 7}})
		}), codes.InvalidArgument, `sequences are not supported`},
		"sequence text": {change(func(r *pb.ModelInferRequest) {
			r.Parameters = param("sequence_id", &pb.InferParameter{ParameterChoice: &pb.InferParameter_StringParam{StringParam: "a"}})
		}), codes.InvalidArgument, `sequences are not supported`},
		"priority": {change(func(r *pb.ModelInferRequest) {
			r.Parameters = param("priority", &pb.InferParameter{ParameterChoice: &pb.InferParameter_DoubleParam{DoubleParam: 1}})
		}), codes.InvalidArgument, `parameter "priority": expected an integer`},
		"full":      {change(func(r *pb.ModelInferRequest) { r.ModelName = "full" }), codes.ResourceExhausted, "the queue is full"},
		"broken":    {change(func(r *pb.ModelInferRequest) { r.ModelName = "broken" }), codes.Internal, ""},
		"too large": {request("FP32", "FP32", strings.Repeat("1234", 1<<15), 1<<15), codes.ResourceExhausted, "larger than max"},
		"classes of text": {func() *pb.ModelInferRequest {
			r := request("BYTES", "BYTES", "\x00\x00\x00\x00", 1)
			r.Outputs = classes(2)
			return r
		}(), codes.InvalidArgument, "classification needs an output of numbers"},
	} {
		_, err := c.ModelInfer(t.Context(), v.r)
		if status.Code(err) != v.code || !strings.Contains(status.Convert(err).Message(), v.want) {
			t.Errorf("%s: %v, want %s %s", name, err, v.code, v.want)
		}
	}
	var trailer metadata.MD
	_, err := c.ModelInfer(t.Context(), change(func(r *pb.ModelInferRequest) { r.ModelName = "full" }), grpc.Trailer(&trailer))
	details := status.Convert(err).Details()
	if len(details) != 1 || details[0].(*errdetails.RetryInfo).RetryDelay.AsDuration() != 1500*time.Millisecond || trailer.Get("grpc-retry-pushback-ms")[0] != "1500" {
		t.Errorf("%v %v", details, trailer)
	}
}

func TestInFlight(t *testing.T) {
	f := &limit.InFlight{Max: 1}
	core := testCore(t)
	answer := hold(t, core)
	_, conn := start(t, core, Options{InFlight: f, MaxMessage: 1 << 10})
	c := oipgrpc.NewGRPCInferenceServiceClient(conn)
	slow := make(chan error)
	go func() {
		_, err := c.ModelInfer(context.Background(), request("held", "FP32", strings.Repeat("1234", 4), 1, 4))
		slow <- err
	}()
	until(t, func() bool { return f.Now() == 1 })
	if _, err := c.ModelInfer(t.Context(), request("FP32", "FP32", "1234", 1)); status.Code(err) != codes.ResourceExhausted {
		t.Error(err)
	}
	answer()
	if err := <-slow; err != nil {
		t.Error(err)
	}
	if _, err := c.ModelInfer(t.Context(), request("FP32", "FP32", "1234", 1)); err != nil {
		t.Errorf("the place of a call that was answered is not free: %v", err)
	}
	if _, err := c.ModelInfer(t.Context(), request("FP32", "FP32", strings.Repeat("1234", 1<<10), 1<<10)); status.Code(err) != codes.ResourceExhausted {
		t.Error(err)
	}
	until(t, func() bool { return f.Now() == 0 }) // no handler gives the place of a call that was too large back
}

// What a call holds is bounded: its message, what is decoded beside it, and its answer.
func TestRoom(t *testing.T) {
	const kib = 1 << 10
	f := &limit.InFlight{MaxBytes: 512 * kib}
	c := client(t, Options{InFlight: f})
	typed := &pb.ModelInferRequest{ModelName: "INT64", Inputs: []*pb.ModelInferRequest_InferInputTensor{{
		Name: "x", Datatype: "INT64", Shape: []int64{80 * kib}, Contents: &pb.InferTensorContents{Int64Contents: make([]int64, 80*kib)}}}}
	for name, tt := range map[string]struct {
		request *pb.ModelInferRequest
		want    codes.Code
	}{
		"fits":              {request("FP32", "FP32", strings.Repeat("1234", 50*kib), 50*kib), codes.OK},
		"message too large": {request("FP32", "FP32", strings.Repeat("1234", 130*kib), 130*kib), codes.InvalidArgument},
		"answer too large":  {request("FP32", "FP32", strings.Repeat("1234", 80*kib), 80*kib), codes.InvalidArgument},
		"tensor too large":  {typed, codes.InvalidArgument},
	} {
		if _, err := c.ModelInfer(t.Context(), tt.request); status.Code(err) != tt.want {
			t.Errorf("%s: %v", name, err)
		}
		if f.Bytes() != 0 {
			t.Errorf("%s: %d bytes are held afterwards", name, f.Bytes())
		}
	}
	other := f.Room()
	if err := other.Add(400 * kib); err != nil {
		t.Fatal(err)
	}
	_, err := c.ModelInfer(t.Context(), request("FP32", "FP32", strings.Repeat("1234", 50*kib), 50*kib))
	if st := status.Convert(err); st.Code() != codes.ResourceExhausted || len(st.Details()) != 1 || !strings.Contains(st.Message(), "try again later") {
		t.Errorf("%v %v", st, st.Details())
	}
}

func classes(k int64) []*pb.ModelInferRequest_InferRequestedOutputTensor {
	return []*pb.ModelInferRequest_InferRequestedOutputTensor{{Name: "y", Parameters: map[string]*pb.InferParameter{
		"classification": {ParameterChoice: &pb.InferParameter_Int64Param{Int64Param: k}}}}}
}

func TestClassification(t *testing.T) {
	r := request("FP32", "FP32", string(tensor.AsBytes([]float32{1, 5, 10, 4})), 4)
	r.Outputs = classes(2)
	got, err := client(t, Options{}).ModelInfer(t.Context(), r)
	if err != nil || !strings.Contains(string(got.RawOutputContents[0]), "10:2") || got.Outputs[0].Datatype != "BYTES" {
		t.Errorf("%v %v", got, err)
	}
}

// Large messages come in several buffers and leave from pooled memory.
func TestLargeAndCompressed(t *testing.T) {
	c := client(t, Options{})
	values := make([]float32, 1<<17)
	for i := range values {
		values[i] = float32(i)
	}
	for _, opts := range [][]grpc.CallOption{nil, {grpc.UseCompressor(gzip.Name)}, {grpc.UseCompressor("deflate")}} {
		r, err := c.ModelInfer(t.Context(), request("FP32", "FP32", string(tensor.AsBytes(values)), 1<<17), append(opts, grpc.MaxCallRecvMsgSize(1<<30))...)
		if err != nil || string(r.RawOutputContents[0]) != string(tensor.AsBytes(values)) {
			t.Errorf("%v: %v", opts, err)
		}
	}
}

func TestDeadline(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r := request("slow", "FP32", strings.Repeat("1234", 4), 1, 4)
	if _, err := client(t, Options{}).ModelInfer(ctx, r); status.Code(err) != codes.DeadlineExceeded {
		t.Error(err)
	}
}
