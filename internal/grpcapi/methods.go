package grpcapi

import (
	"github.com/salver-ml/salver/internal/grpcapi/rpc"
)

// The services' names as methods begin with them.
const (
	service       = "/" + serviceName + "/"
	healthService = "/" + healthName + "/"

	serviceName = "inference.GRPCInferenceService"
	healthName  = "grpc.health.v1.Health"

	inferMethod  = service + "ModelInfer"
	streamMethod = service + "ModelStreamInfer"
)

// methods are all that the server answers; a panic in one becomes an error.
func (s *Server) methods() map[string]rpc.Method {
	list := map[string]rpc.Method{
		inferMethod:             {Handler: s.modelInfer},
		streamMethod:            {Handler: s.modelStreamInfer, Streaming: true},
		healthService + "Check": {Handler: unary(s.healthCheck)},
		healthService + "Watch": {Handler: s.healthWatch, Streaming: true},
	}
	for _, name := range reflectionNames {
		list["/"+name+"/ServerReflectionInfo"] = rpc.Method{Handler: s.reflect, Streaming: true}
	}
	for name, h := range map[string]rpc.Handler{
		"ServerLive":                 unary(s.serverLive),
		"ServerReady":                unary(s.serverReady),
		"ModelReady":                 s.ofModel("ModelReady", s.modelReady),
		"ServerMetadata":             unary(s.serverMetadata),
		"ModelMetadata":              s.ofModel("ModelMetadata", s.modelMetadata),
		"ModelConfig":                s.ofModel("ModelConfig", s.modelConfig),
		"ModelStatistics":            s.ofModel("ModelStatistics", s.modelStatistics),
		"RepositoryIndex":            unary(s.repositoryIndex),
		"RepositoryModelLoad":        unary(s.repositoryModelLoad),
		"RepositoryModelUnload":      unary(s.repositoryModelUnload),
		"SystemSharedMemoryStatus":   unsupported(sharedMemory),
		"SystemSharedMemoryRegister": unsupported(sharedMemory), "SystemSharedMemoryUnregister": unsupported(sharedMemory),
		"CudaSharedMemoryStatus":   unsupported(sharedMemory),
		"CudaSharedMemoryRegister": unsupported(sharedMemory), "CudaSharedMemoryUnregister": unsupported(sharedMemory),
		"TraceSetting": unsupported("trace settings"),
		"LogSettings":  unsupported("log settings"),
	} {
		list[service+name] = rpc.Method{Handler: h}
	}
	for name, m := range list {
		handler := m.Handler
		m.Handler = func(st *rpc.Stream) (b *rpc.Buffer, err error) {
			defer s.recover(name, &err)
			return handler(st)
		}
		list[name] = m
	}
	return list
}

// unsupported refuses the calls of Triton's extensions that this server does not have.
func unsupported(what string) rpc.Handler {
	return func(*rpc.Stream) (*rpc.Buffer, error) {
		return nil, rpc.Errorf(rpc.Unimplemented, "%s are not supported by this server", what)
	}
}

const sharedMemory = "shared-memory regions"
