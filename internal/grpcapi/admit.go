package grpcapi

import (
	"errors"
	"strings"

	"github.com/salver-ml/salver/internal/grpcapi/rpc"
	"github.com/salver-ml/salver/internal/limit"
	"github.com/salver-ml/salver/internal/oip"
	"github.com/salver-ml/salver/internal/serve"
)

// admit refuses calls without the key they need, and inferences beyond the
// server's bound, before anything of them is read. done gives the place of an
// inference back.
func (s *Server) admit(method string, h rpc.Header) (done func(), err error) {
	if err := s.authorize(method, h); err != nil {
		return nil, err
	}
	f := s.opts.InFlight
	if f == nil || method != inferMethod {
		return nil, nil // those on a stream are counted one by one
	}
	if !f.Enter() {
		return nil, rpc.Errorf(rpc.ResourceExhausted, "%s", errBusy(f))
	}
	return s.leave, nil
}

func errBusy(f *limit.InFlight) error {
	return serve.Errorf(serve.ResourceExhausted, "the server is answering its maximum of %d requests; try again later", f.Max)
}

func (s *Server) authorize(method string, h rpc.Header) error {
	if s.opts.Authorize == nil {
		return nil
	}
	switch err := s.opts.Authorize.Check(apiKey(h), access(method)); {
	case err == nil:
		return nil
	case errors.Is(err, oip.ErrForbidden):
		return rpc.Errorf(rpc.PermissionDenied, "%s", err)
	default:
		return rpc.Errorf(rpc.Unauthenticated, "%s", err)
	}
}

// access is what a method needs; unknown ones need a key like most.
func access(method string) oip.Access {
	switch method {
	case service + "ServerLive", service + "ServerReady", healthService + "Check", healthService + "Watch":
		return oip.Public
	case service + "RepositoryModelLoad", service + "RepositoryModelUnload":
		return oip.Admin
	}
	return oip.Use
}

func apiKey(h rpc.Header) (key string) {
	h.Get("x-api-key", func(k string) bool { key = k; return false })
	if key != "" {
		return key
	}
	h.Get("authorization", func(a string) bool {
		scheme, k, ok := strings.Cut(a, " ")
		if ok = ok && strings.EqualFold(scheme, "Bearer"); ok {
			key = strings.TrimSpace(k)
		}
		return !ok
	})
	return key
}
