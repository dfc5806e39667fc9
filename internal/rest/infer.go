package rest

import (
	"compress/gzip"
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/oip"
	"github.com/salver-ml/salver/internal/rest/inferbody"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/tensor"
)

// headerLength is how clients say where the JSON ends and binary tensors begin.
const headerLength = "Inference-Header-Content-Length"

// call is the memory of one request, used again for later ones.
type call struct {
	inferbody.Call
	buffer []byte // the body, aligned
	timed  timedReader
	gzip   *gzip.Reader
	raw    tensor.Tensor // the input of a raw binary request
	out    []byte

	length     int // of the JSON before the last binary outputs
	lengthText []string
}

func (h *Handler) put(c *call) {
	c.Reset(keepBuffer)
	c.raw, c.timed = tensor.Tensor{}, timedReader{}
	if len(c.buffer) > keepBuffer {
		c.buffer = nil
	}
	if cap(c.out) > keepBuffer {
		c.out = nil
	}
	h.calls.Put(c)
}

// infer answers an inference request.
func (h *Handler) infer(w http.ResponseWriter, r *http.Request, p params) {
	c := h.calls.Get().(*call)
	defer h.put(c)
	header, err := inferenceHeader(r)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	body, err := c.read(h, w, r, max(header, 0), h.opts.MaxBody)
	if err != nil {
		h.failRead(w, r, err)
		return
	}
	c.Req.Model, c.Req.Version, c.Req.Protocol = p.model, p.version, "http"
	switch {
	case header < 0:
		err = c.Decode(body, nil)
	case header > len(body):
		err = serve.Errorf(serve.InvalidArgument, "%s is %d, but the body has only %d bytes", headerLength, header, len(body))
	case header == 0:
		err = h.decodeRaw(c, body)
	default:
		err = c.Decode(body[:header], body[header:])
	}
	if err != nil {
		h.fail(w, r, err)
		return
	}
	resp, err := h.core.Infer(r.Context(), &c.Req)
	if err != nil {
		h.failInfer(w, r, err)
		return
	}
	defer resp.Release()
	if err := h.classify(c, resp); err != nil {
		h.fail(w, r, err)
		return
	}
	if err := c.answer(h, w, r, resp); err != nil {
		h.fail(w, r, err)
	}
}

// failInfer answers a failed inference; a client that has gone gets nothing.
func (h *Handler) failInfer(w http.ResponseWriter, r *http.Request, err error) {
	if context.Cause(r.Context()) == context.Canceled && serve.AsError(err).Kind == serve.Canceled {
		w.WriteHeader(statusCanceled)
		return
	}
	h.fail(w, r, err)
}

// inferenceHeader is the length of the JSON in front of binary tensors, -1 if all is JSON.
func inferenceHeader(r *http.Request) (int, error) {
	v := r.Header[headerLength]
	if len(v) == 0 {
		return -1, nil
	}
	n, err := strconv.Atoi(v[0])
	if err != nil || n < 0 || len(v) > 1 {
		return 0, serve.Errorf(serve.InvalidArgument, "header %s: expected one integer of at least 0, found %q", headerLength, v)
	}
	return n, nil
}

// decodeRaw makes a request of a body that is one tensor without JSON, for
// models whose metadata leave no doubt about its shape. All outputs are binary.
func (h *Handler) decodeRaw(c *call, body []byte) error {
	m, err := h.core.Metadata(c.Req.Model, c.Req.Version)
	if err != nil {
		return err
	}
	cfg, err := h.core.Config(c.Req.Model, c.Req.Version)
	if err != nil {
		return err
	}
	if len(m.Inputs) != 1 {
		return serve.Errorf(serve.InvalidArgument, "a raw binary request (%s: 0) needs a model with one input; model %q has %d", headerLength, m.Name, len(m.Inputs))
	}
	in := &m.Inputs[0]
	c.AllBinary()
	c.Req.Inputs = append(c.Req.Inputs, serve.NamedTensor{Name: in.Name, Tensor: &c.raw})
	if c.raw.Shape, err = rawShape(in, len(body), cfg.MaxBatchSize > 0); err != nil {
		return serve.Errorf(serve.InvalidArgument, "raw binary request (%s: 0): input %q (%s): %w", headerLength, in.Name, in, err)
	}
	c.raw.DType = in.DType
	if in.DType == dtype.String {
		c.raw.Strings = []string{string(body)} // the whole body is the one element
		return nil
	}
	if err := oip.SetRaw(&c.raw, tensor.Count(c.raw.Shape), body); err != nil {
		return serve.Errorf(serve.InvalidArgument, "raw binary request (%s: 0): input %q: %w", headerLength, in.Name, err)
	}
	return nil
}

// rawShape deduces the shape of a tensor of size bytes: a batch of one, and at most one other dimension that is free.
func rawShape(in *serve.TensorInfo, size int, batched bool) ([]int, error) {
	shape := append([]int{}, in.Shape...)
	if batched && len(shape) > 0 {
		shape[0] = 1
	}
	free, known := -1, 1
	for i, d := range shape {
		switch {
		case d >= 0:
			known *= d
		case free >= 0:
			return nil, fmt.Errorf("expected at most one dimension of any size beside the batch")
		default:
			free = i
		}
	}
	if in.DType == dtype.String {
		if free >= 0 {
			shape[free] = 1
		}
		if known != 1 {
			return nil, fmt.Errorf("expected an input of one element, found one of %d", known)
		}
		return shape, nil
	}
	if free >= 0 {
		row := in.DType.Bytes(known)
		if row == 0 || size%row != 0 {
			return nil, fmt.Errorf("expected a multiple of %d bytes, found %d", row, size)
		}
		shape[free] = size / row
	}
	return shape, nil
}

// classify replaces the outputs for which the request wants classes.
func (h *Handler) classify(c *call, resp *serve.Response) error {
	for i := range resp.Outputs {
		_, k := c.Wants(i)
		if k == 0 {
			continue
		}
		if err := oip.ClassifyOutput(h.core, resp, i, k); err != nil {
			return err
		}
	}
	return nil
}
