package grpcapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/salver-ml/salver/api/oip"
	"github.com/salver-ml/salver/api/oip/oipgrpc"
	"github.com/salver-ml/salver/internal/limit"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/serve/servetest"
)

func TestStream(t *testing.T) {
	c := client(t, Options{})
	stream, err := c.ModelStreamInfer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const n = 200
	go func() {
		for i := range n {
			r := request("FP32", "FP32", "\x00\x00\x80\x3f", 1)
			r.Id = fmt.Sprint(i)
			switch {
			case i%10 == 3:
				r.ModelName = "nope"
			case i%10 == 5:
				r = request("slow", "FP32", strings.Repeat("1234", 4), 1, 4)
				r.Id = fmt.Sprint(i)
			case i%10 == 7:
				r.Parameters = map[string]*pb.InferParameter{"triton_enable_empty_final_response": {ParameterChoice: &pb.InferParameter_BoolParam{BoolParam: true}}}
			}
			stream.Send(r)
		}
		stream.CloseSend()
	}()
	for i := range n {
		r, err := stream.Recv()
		if err != nil {
			t.Fatal(i, err)
		}
		in := r.InferResponse
		if in.Id != fmt.Sprint(i) || (r.ErrorMessage != "") != (i%10 == 3) || (len(in.RawOutputContents) == 1) != (i%10 != 3) || in.Parameters["triton_final_response"].GetBoolParam() != (i%10 == 7) {
			t.Fatalf("answer %d: %v", i, r)
		}
	}
	if _, err := stream.Recv(); err != io.EOF {
		t.Error(err)
	}
}

// Large requests on a stream wait for each other instead of for memory.
func TestLargeOnStream(t *testing.T) {
	stream, err := client(t, Options{MaxMessage: 1 << 20}).ModelStreamInfer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const n = 20
	go func() {
		for range n {
			stream.Send(request("FP32", "FP32", strings.Repeat("1234", 250_000), 250_000))
		}
		stream.CloseSend()
	}()
	for range n {
		if r, err := stream.Recv(); err != nil || r.ErrorMessage != "" {
			t.Fatal(r.GetErrorMessage(), err)
		}
	}
}

// Requests that have begun are answered, on streams too; later ones are refused.
func TestDrain(t *testing.T) {
	core := testCore(t)
	answer := hold(t, core)
	f := &limit.InFlight{}
	server, conn := start(t, core, Options{InFlight: f})
	c := oipgrpc.NewGRPCInferenceServiceClient(conn)
	held := request("held", "FP32", strings.Repeat("1234", 4), 1, 4)
	stream, err := c.ModelStreamInfer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stream.Send(held)
	idle, err := c.ModelStreamInfer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	idle.Send(request("FP32", "FP32", "1234", 1))
	if _, err := idle.Recv(); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := c.ModelInfer(t.Context(), held); err != nil {
				t.Error("a request that had begun:", err)
			}
		})
	}
	until(t, func() bool { return f.Now() == 9 })
	time.AfterFunc(50*time.Millisecond, answer) // when the drain has begun
	if err := server.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if r, err := stream.Recv(); err != nil || r.ErrorMessage != "" {
		t.Errorf("a stream's request that had begun: %v %v", r, err)
	}
	for _, s := range []oipgrpc.GRPCInferenceService_ModelStreamInferClient{stream, idle} {
		if _, err := s.Recv(); status.Code(err) != codes.Unavailable {
			t.Error("the end of a stream:", err)
		}
	}
	if _, err := c.ModelInfer(t.Context(), held); status.Code(err) != codes.Unavailable {
		t.Error("a request after the drain:", err)
	}
}

func TestDrainTimeout(t *testing.T) {
	core := serve.New(serve.Options{})
	stuck := servetest.Identity(4)
	stuck.Delay = time.Minute
	if err := core.Register("stuck", 1, stuck, nil); err != nil {
		t.Fatal(err)
	}
	server, conn := start(t, core, Options{})
	go oipgrpc.NewGRPCInferenceServiceClient(conn).ModelInfer(t.Context(), request("stuck", "FP32", strings.Repeat("1234", 4), 1, 4))
	until(t, func() bool { return stuck.Runs.Load() == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := server.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
