package grpcapi

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/grpcapi/rpc"
	"github.com/salver-ml/salver/internal/limit"
	"github.com/salver-ml/salver/internal/oip"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/tensor"
)

// call is one inference request and the memory it takes, used again for later ones.
type call struct {
	req  serve.Request
	err  error       // of decoding
	wire *rpc.Buffer // the request's bytes, which its tensors alias
	room limit.Room  // of wire, of the tensors that do not alias it, and of the answer

	classes    []int // per requested output, of the classification extension; 0 is none
	finalMark  bool  // triton_enable_empty_final_response
	inputs     []*input
	all        []*input
	raw        [][]byte
	scratch    oip.Scratch
	parameters []parameter // of the message being read
}

// input is an input tensor while it is decoded.
type input struct {
	name     string
	tensor   tensor.Tensor
	contents []byte // the InferTensorContents message
	typed    bool   // contents is there
	err      error
}

type parameter struct {
	name  string
	value oip.Param
}

// keepBuffer is the largest buffer that is kept for the next request.
const keepBuffer = 4 << 20

// release forgets the request and gives the call back.
func (s *Server) release(c *call) {
	c.wire.Free()
	c.room.Leave()
	c.scratch.Reset(keepBuffer)
	clear(c.raw)
	for _, in := range c.inputs {
		*in = input{tensor: tensor.Tensor{Shape: in.tensor.Shape[:0]}}
	}
	*c = call{
		req:     serve.Request{Inputs: c.req.Inputs[:0], Outputs: c.req.Outputs[:0]},
		classes: c.classes[:0], inputs: c.inputs[:0], all: c.all, raw: c.raw[:0], scratch: c.scratch, parameters: c.parameters[:0],
	}
	s.calls.Put(c)
}

// newCall begins a request, which ends with release.
func (s *Server) newCall() *call {
	c := s.calls.Get().(*call)
	c.room = s.opts.InFlight.Room()
	return c
}

// stringBytes is what an element of a BYTES tensor takes beside its contents.
const stringBytes = 16

// size is the request's size in bytes.
func (c *call) size() int {
	if c.wire == nil {
		return 0
	}
	return len(c.wire.Bytes())
}

// field is a field of a message: bytes for a length-delimited one, else num.
type field struct {
	number protowire.Number
	kind   protowire.Type
	bytes  []byte
	num    uint64
}

var errWire = fmt.Errorf("the message is not valid protobuf")

// next cuts the first field off a message.
func next(b []byte) (f field, rest []byte, err error) {
	number, kind, n := protowire.ConsumeTag(b)
	if n < 0 {
		return f, nil, errWire
	}
	f.number, f.kind = number, kind
	b = b[n:]
	switch kind {
	case protowire.BytesType:
		f.bytes, n = protowire.ConsumeBytes(b)
	case protowire.VarintType:
		f.num, n = protowire.ConsumeVarint(b)
	case protowire.Fixed64Type:
		f.num, n = protowire.ConsumeFixed64(b)
	case protowire.Fixed32Type:
		var v uint32
		v, n = protowire.ConsumeFixed32(b)
		f.num = uint64(v)
	default:
		n = protowire.ConsumeFieldValue(number, kind, b)
	}
	if n < 0 {
		return f, nil, errWire
	}
	return f, b[n:], nil
}

// is reports whether a field is the given one; a known number with another
// wire type is left aside as an unknown field, as protobuf says.
func (f *field) is(n protowire.Number, k protowire.Type) bool { return f.number == n && f.kind == k }

// decode reads a ModelInferRequest.
func (c *call) decode(b []byte) error {
	err := c.message(b)
	if err == nil {
		err = c.assemble()
	}
	if full, ok := errors.AsType[*limit.FullError](err); ok {
		return full
	}
	if _, ok := err.(*serve.Error); err != nil && !ok {
		err = serve.Errorf(serve.InvalidArgument, "%w", err)
	}
	return err
}

func (c *call) message(b []byte) (err error) {
	var f field
	for len(b) > 0 {
		if f, b, err = next(b); err != nil {
			return err
		}
		if f.kind != protowire.BytesType {
			continue
		}
		switch f.number {
		case 1:
			c.req.Model, err = c.text(f.bytes, "model_name")
		case 2:
			c.req.Version, err = c.text(f.bytes, "model_version")
		case 3:
			c.req.ID, err = c.text(f.bytes, "id")
		case 4:
			err = c.requestParameter(f.bytes)
		case 5:
			err = c.input(f.bytes)
		case 6:
			err = c.output(f.bytes)
		case 7:
			c.raw = append(c.raw, f.bytes)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *call) text(b []byte, what string) (string, error) {
	if !utf8.Valid(b) {
		return "", fmt.Errorf("%s: expected UTF-8, found %q", what, b[:min(len(b), 40)])
	}
	return c.scratch.Intern(b), nil
}

func (c *call) requestParameter(b []byte) error {
	p, err := c.parameter(b)
	if err != nil {
		return err
	}
	switch p.name {
	case "triton_enable_empty_final_response":
		c.finalMark, err = p.value.AsBool(p.name)
	case "binary_data_output": // of the HTTP API; answers are always binary here
	default:
		err = oip.SetParameter(&c.req, p.name, p.value)
	}
	return err
}

// parameter reads an entry of a map from string to InferParameter.
func (c *call) parameter(b []byte) (p parameter, err error) {
	var f field
	for len(b) > 0 {
		if f, b, err = next(b); err != nil {
			return p, err
		}
		switch {
		case f.is(1, protowire.BytesType):
			if p.name, err = c.text(f.bytes, "a parameter's name"); err != nil {
				return p, err
			}
		case f.is(2, protowire.BytesType):
			if p.value, err = c.value(f.bytes); err != nil {
				return p, err
			}
		}
	}
	return p, nil
}

// value reads an InferParameter.
func (c *call) value(b []byte) (v oip.Param, err error) {
	var f field
	for len(b) > 0 {
		if f, b, err = next(b); err != nil {
			return v, err
		}
		switch {
		case f.is(1, protowire.VarintType):
			v = oip.Param{Kind: oip.ParamBool, Bool: f.num != 0}
		case f.is(2, protowire.VarintType):
			v = oip.Param{Kind: oip.ParamInt, Int: int64(f.num)}
		case f.is(3, protowire.BytesType):
			var t string
			t, err = c.text(f.bytes, "a parameter")
			v = oip.Param{Kind: oip.ParamText, Text: t}
		case f.is(4, protowire.Fixed64Type):
			v = oip.Param{Kind: oip.ParamFloat, Float: math.Float64frombits(f.num)}
		case f.is(5, protowire.VarintType):
			v = oip.Param{Kind: oip.ParamInt, Int: int64(min(f.num, math.MaxInt64))}
		}
		if err != nil {
			return v, err
		}
	}
	return v, nil
}

// output reads an InferRequestedOutputTensor.
func (c *call) output(b []byte) (err error) {
	var f field
	name, classes := "", 0
	for len(b) > 0 {
		if f, b, err = next(b); err != nil {
			return err
		}
		switch {
		case f.is(1, protowire.BytesType):
			name, err = c.text(f.bytes, "an output's name")
		case f.is(2, protowire.BytesType):
			var p parameter
			if p, err = c.parameter(f.bytes); err != nil {
				break
			}
			if p.name == "classification" {
				classes, err = p.value.AsCount(p.name)
			} else {
				err = oip.TensorParameter(p.name)
			}
		}
		if err != nil {
			return fmt.Errorf("output %q: %w", name, err)
		}
	}
	c.req.Outputs = append(c.req.Outputs, name)
	c.classes = append(c.classes, classes)
	return nil
}

// input reads an InferInputTensor.
func (c *call) input(b []byte) (err error) {
	n := len(c.inputs)
	if n == len(c.all) {
		c.all = append(c.all, new(input))
	}
	c.inputs = c.all[:n+1]
	in := c.all[n]
	if in.tensor.Shape == nil {
		in.tensor.Shape = make([]int, 0, 4)
	}
	var f field
	for len(b) > 0 && err == nil {
		if f, b, err = next(b); err != nil {
			break
		}
		switch {
		case f.is(1, protowire.BytesType):
			in.name, err = c.text(f.bytes, "an input's name")
		case f.is(2, protowire.BytesType):
			if in.tensor.DType = oip.Datatype(f.bytes); in.tensor.DType == dtype.Invalid {
				err = oip.ErrDatatype(string(f.bytes[:min(len(f.bytes), 40)]))
			}
		case f.is(3, protowire.BytesType):
			err = in.dims(f.bytes)
		case f.is(3, protowire.VarintType):
			err = in.dim(f.num)
		case f.is(4, protowire.BytesType):
			var p parameter
			if p, err = c.parameter(f.bytes); err == nil {
				err = oip.TensorParameter(p.name)
			}
		case f.is(5, protowire.BytesType):
			in.addContents(f.bytes)
		}
	}
	return inInput(in.name, n, err)
}

// addContents keeps the contents; a message in several parts is their concatenation, as protobuf says.
func (in *input) addContents(b []byte) {
	if in.typed {
		b = append(append([]byte{}, in.contents...), b...)
	}
	in.contents, in.typed = b, true
}

// inInput says in which input an error is.
func inInput(name string, i int, err error) error {
	if err == nil {
		return nil
	}
	if name == "" {
		return fmt.Errorf("input %d: %w", i, err)
	}
	return fmt.Errorf("input %q: %w", name, err)
}

func (in *input) dims(b []byte) error {
	for len(b) > 0 {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return errWire
		}
		if err := in.dim(v); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func (in *input) dim(v uint64) error {
	if len(in.tensor.Shape) == oip.MaxRank {
		return fmt.Errorf("expected at most %d dimensions", oip.MaxRank)
	}
	in.tensor.Shape = append(in.tensor.Shape, int(int64(v)))
	return nil
}

// assemble gives the inputs their contents.
func (c *call) assemble() error {
	if len(c.raw) > 0 && len(c.raw) != len(c.inputs) {
		return fmt.Errorf("expected raw_input_contents for none or for each of the %d inputs, found %d", len(c.inputs), len(c.raw))
	}
	for i, in := range c.inputs {
		if err := c.fill(in, i); err != nil {
			return inInput(in.name, i, err)
		}
		c.req.Inputs = append(c.req.Inputs, serve.NamedTensor{Name: in.name, Tensor: &in.tensor})
	}
	return nil
}

func (c *call) fill(in *input, i int) error {
	t := &in.tensor
	if t.DType == dtype.Invalid {
		return oip.ErrDatatype("")
	}
	n, err := oip.Elements(t.Shape)
	switch {
	case err != nil:
		return err
	case len(c.raw) > 0 && in.typed:
		return fmt.Errorf("expected either contents or raw_input_contents, found both")
	case len(c.raw) > 0 && t.DType == dtype.String:
		if err := c.room.Add(len(c.raw[i]) + min(n, len(c.raw[i])/4)*stringBytes); err != nil {
			return err
		}
		return oip.SetRaw(t, n, c.raw[i])
	case len(c.raw) > 0:
		return oip.SetRaw(t, n, c.raw[i])
	}
	return c.fillTyped(t, n, in.contents)
}
