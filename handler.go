package salver

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/salver-ml/salver/internal/backend"
	"github.com/salver-ml/salver/internal/rest"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/tensor"
)

// Handler answers the Open Inference Protocol (KServe v2, with Triton's
// extensions) over HTTP for sessions by name, each as version 1 of a model:
//
//	POST /v2/models/NAME/infer     and the protocol's other routes below /v2
//	GET  /healthz
//
// Requests are put together where a model's rows are proved independent, which
// changes no bit of an answer. Queues and bodies (64 MiB) are bounded. There is
// no access control: wrap the handler where it is needed. Requests that a web
// page of another site makes a browser send are refused.
//
// The sessions stay the caller's. To end, wait for the requests with
// http.Server.Shutdown, then close the sessions.
func Handler(sessions map[string]*Session) (http.Handler, error) {
	core := serve.New(serve.Options{})
	for _, name := range slices.Sorted(maps.Keys(sessions)) {
		if err := core.Register(name, 1, borrowed{backend.New(sessions[name].engine), sessions[name]}, nil); err != nil {
			return nil, fmt.Errorf("salver: %w", err)
		}
	}
	return rest.New(core, rest.Options{}), nil
}

// borrowed is the backend of a session that someone else closes.
type borrowed struct {
	*backend.Backend
	session *Session
}

// Run computes the outputs, unless the session is closed.
func (b borrowed) Run(ctx context.Context, inputs []*tensor.Tensor) ([]*tensor.Tensor, func(), error) {
	if err := b.session.begin(); err != nil {
		return nil, nil, serve.Errorf(serve.Unavailable, "%w", err)
	}
	defer b.session.runs.RUnlock()
	return b.Backend.Run(ctx, inputs)
}

// Close leaves the session open.
func (borrowed) Close() error { return nil }
