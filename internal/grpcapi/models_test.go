package grpcapi

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	gproto "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	pb "github.com/salver-ml/salver/api/oip"
	"github.com/salver-ml/salver/api/oip/oipgrpc"
	"github.com/salver-ml/salver/internal/oip"
)

func TestOtherCalls(t *testing.T) {
	c := client(t, Options{Version: "1.2.3"})
	show := func(m gproto.Message, err error) string { return fmt.Sprint(m, " ", status.Code(err)) }
	ctx := t.Context()
	for name, v := range map[string]struct{ got, want string }{
		"live":          {show(c.ServerLive(ctx, &pb.ServerLiveRequest{})), "live:true OK"},
		"ready":         {show(c.ServerReady(ctx, &pb.ServerReadyRequest{})), "ready:true OK"},
		"model ready":   {show(c.ModelReady(ctx, &pb.ModelReadyRequest{Name: "identity"})), "ready:true OK"},
		"unknown ready": {show(c.ModelReady(ctx, &pb.ModelReadyRequest{Name: "nope"})), "OK"},
		"server":        {show(c.ServerMetadata(ctx, &pb.ServerMetadataRequest{})), `version:"1.2.3"`},
		"model":         {show(c.ModelMetadata(ctx, &pb.ModelMetadataRequest{Name: "identity"})), `inputs:{name:"x" datatype:"FP32" shape:-1 shape:4}`},
		"unknown model": {show(c.ModelMetadata(ctx, &pb.ModelMetadataRequest{Name: "nope"})), "NotFound"},
		"config":        {show(c.ModelConfig(ctx, &pb.ModelConfigRequest{Name: "identity"})), `data_type:TYPE_FP32`},
		"stats":         {show(c.ModelStatistics(ctx, &pb.ModelStatisticsRequest{Name: "identity"})), `inference_stats:{success:{`},
		"index":         {show(c.RepositoryIndex(ctx, &pb.RepositoryIndexRequest{})), `models:{name:"identity" version:"1" state:"READY"`},
		"load":          {show(c.RepositoryModelLoad(ctx, &pb.RepositoryModelLoadRequest{ModelName: "nope"})), "NotFound"},
		"load file":     {show(c.RepositoryModelLoad(ctx, &pb.RepositoryModelLoadRequest{ModelName: "nope", Parameters: map[string]*pb.ModelRepositoryParameter{"file:1/model.onnx": {}}})), "InvalidArgument"},
		"load config":   {show(c.RepositoryModelLoad(ctx, &pb.RepositoryModelLoadRequest{ModelName: "nope", Parameters: map[string]*pb.ModelRepositoryParameter{"config": {ParameterChoice: &pb.ModelRepositoryParameter_StringParam{StringParam: "nope"}}}})), "InvalidArgument"},
		"unload":        {show(c.RepositoryModelUnload(ctx, &pb.RepositoryModelUnloadRequest{ModelName: "nope"})), "NotFound"},
		"shared memory": {show(c.SystemSharedMemoryStatus(ctx, &pb.SystemSharedMemoryStatusRequest{})), "Unimplemented"},
		"cuda":          {show(c.CudaSharedMemoryRegister(ctx, &pb.CudaSharedMemoryRegisterRequest{})), "Unimplemented"},
		"trace":         {show(c.TraceSetting(ctx, &pb.TraceSettingRequest{})), "Unimplemented"},
		"log":           {show(c.LogSettings(ctx, &pb.LogSettingsRequest{})), "Unimplemented"},
	} {
		// The text form has one or two spaces between fields, at random.
		if got := strings.Join(strings.Fields(v.got), " "); !strings.Contains(got, v.want) {
			t.Errorf("%s: %s, want %s", name, got, v.want)
		}
	}
}

func TestHealthAndReflection(t *testing.T) {
	core := testCore(t)
	server, conn := start(t, core, Options{})
	h := healthpb.NewHealthClient(conn)
	for service, want := range map[string]codes.Code{"": codes.OK, "inference.GRPCInferenceService": codes.OK, "nope": codes.NotFound} {
		r, err := h.Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		if status.Code(err) != want || err == nil && r.Status != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("%q: %v %v", service, r, err)
		}
	}
	info, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	info.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "inference.GRPCInferenceService"}})
	if r, err := info.Recv(); err != nil || len(r.GetFileDescriptorResponse().GetFileDescriptorProto()) < 2 {
		t.Errorf("%v %v", r, err)
	}
	info.CloseSend()
	w, err := h.Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	for {
		r, err := w.Recv()
		if err != nil {
			seen = append(seen, status.Code(err).String())
			break
		}
		seen = append(seen, r.Status.String())
		if len(seen) == 1 {
			core.PrepareShutdown()
		}
		if len(seen) == 2 {
			go server.Drain(context.Background())
		}
	}
	if fmt.Sprint(seen) != "[SERVING NOT_SERVING Unavailable]" {
		t.Error(seen)
	}
}

// grpcurl finds the services, their files, and all that those need, under both names of reflection.
func TestReflection(t *testing.T) {
	_, conn := start(t, testCore(t), Options{})
	v1, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	alpha, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
	if err != nil {
		t.Fatal(err)
	}
	for _, stream := range []grpc.ClientStream{v1, alpha} {
		ask := func(r *reflectionpb.ServerReflectionRequest) *reflectionpb.ServerReflectionResponse {
			r.Host = "h"
			answer := new(reflectionpb.ServerReflectionResponse)
			if err := errors.Join(stream.SendMsg(r), stream.RecvMsg(answer)); err != nil {
				t.Fatal(err)
			}
			if answer.ValidHost != "h" || !gproto.Equal(answer.OriginalRequest, r) {
				t.Errorf("%v", answer)
			}
			return answer
		}
		symbol := func(s string) *reflectionpb.ServerReflectionRequest {
			return &reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: s}}
		}
		var names []string
		for _, s := range ask(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}).GetListServicesResponse().GetService() {
			names = append(names, s.Name)
		}
		if fmt.Sprint(names) != "[grpc.reflection.v1.ServerReflection grpc.reflection.v1alpha.ServerReflection grpc.health.v1.Health inference.GRPCInferenceService]" {
			t.Error(names)
		}
		for _, name := range []string{"inference.GRPCInferenceService", "inference.ModelConfig", "grpc.health.v1.Health", "grpc.health.v1.HealthCheckRequest"} {
			set := new(descriptorpb.FileDescriptorSet)
			for _, b := range ask(symbol(name)).GetFileDescriptorResponse().GetFileDescriptorProto() {
				file := new(descriptorpb.FileDescriptorProto)
				if err := gproto.Unmarshal(b, file); err != nil {
					t.Fatal(err)
				}
				set.File = append(set.File, file)
			}
			files, err := protodesc.NewFiles(set)
			if err != nil {
				t.Fatal(err)
			}
			d, err := files.FindDescriptorByName(protoreflect.FullName(name))
			if err != nil {
				t.Fatal(err)
			}
			if h, ok := d.(protoreflect.ServiceDescriptor); ok && name == healthName && (h.Methods().Len() != 2 || !h.Methods().ByName("Watch").IsStreamingServer()) {
				t.Error(h.Methods())
			}
		}
		if e := ask(symbol("nope.Nope")).GetErrorResponse(); e.GetErrorCode() != int32(codes.NotFound) {
			t.Error(e)
		}
	}
}

func TestAuthorization(t *testing.T) {
	authorize := func(key string, a oip.Access) error {
		switch {
		case key == "admin", key == "user" && a == oip.Use:
			return nil
		case key == "user":
			return oip.ErrForbidden
		}
		return oip.ErrUnauthenticated
	}
	_, conn := start(t, testCore(t), Options{Authorize: authorize})
	call := func(method, header, value string) codes.Code {
		ctx := t.Context()
		if header != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, header, value)
		}
		// Empty messages are valid for all methods; a stream's first answer is an error too.
		stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
		if err != nil {
			return status.Code(err)
		}
		stream.SendMsg(&pb.ServerLiveRequest{})
		stream.CloseSend()
		return status.Code(stream.RecvMsg(&pb.ServerLiveResponse{}))
	}
	methods := []string{"/inference.GRPCInferenceService/Nope", "/nope.Nope/Nope", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"}
	for _, m := range oipgrpc.GRPCInferenceService_ServiceDesc.Methods {
		methods = append(methods, "/inference.GRPCInferenceService/"+m.MethodName)
	}
	for _, m := range oipgrpc.GRPCInferenceService_ServiceDesc.Streams {
		methods = append(methods, "/inference.GRPCInferenceService/"+m.StreamName)
	}
	for _, m := range methods {
		public := strings.HasSuffix(m, "/ServerLive") || strings.HasSuffix(m, "/ServerReady")
		if got := call(m, "", ""); public != (got != codes.Unauthenticated) {
			t.Errorf("%s without a key: %s", m, got)
		}
		if got := call(m, "authorization", "Bearer admin"); got == codes.Unauthenticated || got == codes.PermissionDenied {
			t.Errorf("%s with the admin's key: %s", m, got)
		}
		if got := call(m, "x-api-key", "user"); (got == codes.PermissionDenied) != strings.HasSuffix(strings.ToLower(m), "load") || got == codes.Unauthenticated {
			t.Errorf("%s with a user's key: %s", m, got)
		}
	}
	if got := call("/grpc.health.v1.Health/Check", "", ""); got != codes.OK {
		t.Errorf("health without a key: %s", got)
	}
}
