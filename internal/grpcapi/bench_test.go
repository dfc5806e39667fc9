//go:build unix

package grpcapi

import (
	"context"
	"net"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	gproto "google.golang.org/protobuf/proto"

	pb "github.com/salver-ml/salver/api/oip"
	"github.com/salver-ml/salver/api/oip/oipgrpc"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/serve/servetest"
	"github.com/salver-ml/salver/internal/tensor"
)

// BenchmarkServe compares the server with one of generated code that answers
// every request with the same response, on the same library with the same
// payload: one 28×28 image in, ten scores out. The client sends bytes that are
// made once. The difference is the cost of the server.
func BenchmarkServe(b *testing.B) {
	core := serve.New(serve.Options{})
	scores := []*tensor.Tensor{tensor.New(dtype.Float32, 1, 10)}
	digits := &servetest.Backend{
		In:   []serve.TensorInfo{{Name: "image", DType: dtype.Float32, Shape: []int{-1, 1, 28, 28}}},
		Out:  []serve.TensorInfo{{Name: "scores", DType: dtype.Float32, Shape: []int{-1, 10}}},
		Func: func(context.Context, []*tensor.Tensor) ([]*tensor.Tensor, error) { return scores, nil },
	}
	if err := core.Register("digits", 1, digits, nil); err != nil {
		b.Fatal(err)
	}
	r := request("digits", "FP32", string(make([]byte, 3136)), 1, 1, 28, 28)
	r.Inputs[0].Name = "image"
	wire, err := gproto.Marshal(r)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("salver", func(b *testing.B) {
		_, conn := start(b, core, Options{}, grpc.WithDefaultCallOptions(grpc.ForceCodecV2(bytesCodec{})))
		load(b, conn, wire)
	})
	b.Run("echo", func(b *testing.B) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		s := grpc.NewServer()
		oipgrpc.RegisterGRPCInferenceServiceServer(s, echo{})
		go s.Serve(l)
		defer s.Stop()
		conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(bytesCodec{})))
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		load(b, conn, wire)
	})
}

type echo struct {
	oipgrpc.UnimplementedGRPCInferenceServiceServer
}

func (echo) ModelInfer(_ context.Context, r *pb.ModelInferRequest) (*pb.ModelInferResponse, error) {
	return &pb.ModelInferResponse{
		ModelName: r.ModelName, ModelVersion: "1", Id: r.Id,
		Outputs:           []*pb.ModelInferResponse_InferOutputTensor{{Name: "scores", Datatype: "FP32", Shape: []int64{1, 10}}},
		RawOutputContents: [][]byte{r.RawInputContents[0][:40]},
	}, nil
}

func load(b *testing.B, conn *grpc.ClientConn, wire []byte) {
	b.SetParallelism(16)
	b.ReportAllocs()
	cpu := cpuTime()
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			var out []byte
			if err := conn.Invoke(context.Background(), "/inference.GRPCInferenceService/ModelInfer", wire, &out); err != nil || len(out) < 40 {
				b.Error(err, len(out))
				return
			}
		}
	})
	b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/float64(b.N), "cpu-ns/op")
}

// bytesCodec sends and gives bytes as they are.
type bytesCodec struct{}

func (bytesCodec) Name() string { return "proto" }

func (bytesCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (bytesCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

var _ encoding.CodecV2 = bytesCodec{}

// cpuTime is what this process has used: on a busy machine it says more than the clock.
func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
