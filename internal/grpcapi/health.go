package grpcapi

import (
	"context"
	"time"

	"github.com/salver-ml/salver/internal/grpcapi/rpc"
)

// servingStatus is grpc.health.v1's ServingStatus.
type servingStatus int

const (
	unknownStatus servingStatus = iota
	serving
	notServing
	serviceUnknown
)

// health is grpc.health.v1's status over the core's readiness.
func (s *Server) health() servingStatus {
	select {
	case <-s.draining:
		return notServing
	default:
	}
	if s.core.Ready() {
		return serving
	}
	return notServing
}

func known(name string) bool { return name == "" || name == serviceName }

// healthCheck answers Check, whose messages have one field each: service in, status out.
func (s *Server) healthCheck(_ context.Context, request []byte) (message, error) {
	var name string
	if err := texts(request, &name); err != nil {
		return nil, err
	}
	if !known(name) {
		return nil, rpc.Errorf(rpc.NotFound, "expected the service %s or none, found %q", serviceName, name)
	}
	return statusMessage(s.health()), nil
}

// healthWatch sends the status now and at each change, which it looks for twice a second.
func (s *Server) healthWatch(st *rpc.Stream) (*rpc.Buffer, error) {
	wire, err := recvOne(st)
	if err != nil {
		return nil, err
	}
	var name string
	err = texts(wire.Bytes(), &name)
	wire.Free()
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	last := unknownStatus
	for draining := false; ; {
		now := serviceUnknown
		if known(name) {
			now = s.health()
		}
		if now != last {
			if err := st.Send(statusMessage(now).buffer()); err != nil {
				return nil, err
			}
			last = now
		}
		if draining {
			return nil, rpc.Errorf(rpc.Unavailable, "the server is shutting down")
		}
		select {
		case <-tick.C:
		case <-st.Context().Done():
			return nil, st.Context().Err()
		case <-s.draining:
			draining = true
		}
	}
}

func statusMessage(v servingStatus) message { return message{}.number(1, int64(v)) }
