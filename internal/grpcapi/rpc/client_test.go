package rpc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
)

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

func dial(t testing.TB, s *Server, o ...grpc.DialOption) *grpc.ClientConn {
	conn, err := grpc.NewClient(listen(t, s).Addr().String(), append(o, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(bytesCodec{}), grpc.MaxCallRecvMsgSize(testMax)))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// grpc-go's client gets back what it sends, of all sizes and on all ways.
func TestSizes(t *testing.T) {
	conn := dial(t, testServer())
	for _, n := range []int{0, 1, 1000, 16379, 16384, 65535, 1 << 20, 5_000_001, testMax} {
		want := bytes.Repeat([]byte("salver "), n/7+1)[:n]
		for _, o := range [][]grpc.CallOption{nil, {grpc.UseCompressor(gzip.Name)}} {
			var got []byte
			if err := conn.Invoke(t.Context(), "/t.T/Echo", want, &got, o...); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes: %d came back, %v", n, len(got), err)
			}
			st, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/t.T/Stream", o...)
			if err != nil {
				t.Fatal(err)
			}
			go func() { // what is not read stops what is sent
				for range 3 {
					st.SendMsg(want)
				}
				st.CloseSend()
			}()
			for range 3 {
				if err := st.RecvMsg(&got); err != nil || !bytes.Equal(got, want) {
					t.Errorf("a stream with %d bytes: %d came back, %v", n, len(got), err)
				}
			}
			if err := st.RecvMsg(&got); !errors.Is(err, io.EOF) {
				t.Error(err)
			}
		}
	}
	// A little gzip may be a lot of zeros.
	var got []byte
	err := conn.Invoke(t.Context(), "/t.T/Echo", make([]byte, testMax+1), &got, grpc.UseCompressor(gzip.Name))
	if status.Code(err) != codes.ResourceExhausted {
		t.Error(err)
	}
}

// Statuses reach the client as they are.
func TestStatus(t *testing.T) {
	text := "50% of “naïve” clients\n" + strings.Repeat("x", 9000)
	conn := dial(t, NewServer(Options{MaxMessage: testMax, Methods: map[string]Method{
		"/t.T/Fail":    {Handler: func(*Stream) (*Buffer, error) { return nil, Errorf(NotFound, "%s", text) }},
		"/t.T/Unknown": {Handler: func(*Stream) (*Buffer, error) { return nil, errors.New("what") }},
		"/t.T/Late":    {Handler: func(*Stream) (*Buffer, error) { return nil, context.DeadlineExceeded }},
	}}), grpc.WithMaxHeaderListSize(1<<20))
	for method, want := range map[string]*status.Status{
		"/t.T/Fail": status.New(codes.NotFound, text), "/t.T/Unknown": status.New(codes.Unknown, "what"),
		"/t.T/Late": status.New(codes.DeadlineExceeded, "the call's deadline has passed"),
	} {
		var got []byte
		if st := status.Convert(conn.Invoke(t.Context(), method, []byte("x"), &got)); st.Code() != want.Code() || st.Message() != want.Message() {
			t.Errorf("%s: %v", method, st)
		}
	}
}

// Ten thousand streams over a hundred connections are open at once.
func TestManyStreams(t *testing.T) {
	const conns, streams = 100, 100
	s := testServer()
	l := listen(t, s)
	var wg, open sync.WaitGroup
	open.Add(conns * streams)
	for range conns {
		conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(bytesCodec{})))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for range streams {
			wg.Go(func() {
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				st, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/t.T/Stream")
				var got []byte
				if err == nil {
					err = errors.Join(st.SendMsg([]byte("one")), st.RecvMsg(&got))
				}
				open.Done()
				open.Wait()
				if err == nil {
					err = errors.Join(st.SendMsg([]byte("two")), st.CloseSend(), st.RecvMsg(&got))
				}
				if err != nil || string(got) != "two" {
					t.Error(err, string(got))
				}
			})
		}
	}
	wg.Wait()
}
