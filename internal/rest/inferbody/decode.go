// Package inferbody turns the bodies of HTTP inference requests into
// serve.Request and the answers back: the protocol's JSON, with tensors in JSON
// or, by the binary tensor extension, behind it.
//
// What the JSON may hold is strict: an unknown field, a field given twice, or
// anything behind the object is an error. Unknown parameters are not: the
// protocol leaves their names to clients and servers.
package inferbody

import (
	"github.com/salver-ml/salver/internal/limit"
	"github.com/salver-ml/salver/internal/oip"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/tensor"
)

// Call is one inference request and the memory it takes, to be used again for
// the next one. The zero value is ready.
type Call struct {
	Req serve.Request
	// Room is asked before memory is taken for tensors in JSON, strings and
	// answers. Reset gives it back.
	Room limit.Room

	outputs   []output
	binaryAll bool // binary_data_output

	inputs  []*input // those in use, of all
	all     []*input
	scan    scanner
	scratch oip.Scratch
}

// output is an output as requested.
type output struct {
	name    string
	classes int // of the classification extension; 0 is none
	binary  choice
}

// choice is a boolean that may be left unsaid.
type choice uint8

const (
	unsaid choice = iota
	no
	yes
)

// input is an input while it is decoded.
type input struct {
	tensor     tensor.Tensor
	name       string
	shaped     bool
	elements   int
	binarySize int // -1 where the tensor comes as JSON
	data       int // where the data begins in the JSON: to be read once datatype and shape are known
	hasData    bool
}

// Reset forgets the request and keeps the memory, unless that is more than keep bytes.
func (c *Call) Reset(keep int) {
	c.Req = serve.Request{Inputs: c.Req.Inputs[:0], Outputs: c.Req.Outputs[:0]}
	c.outputs, c.inputs, c.binaryAll = c.outputs[:0], c.inputs[:0], false
	c.scratch.Reset(keep)
	c.Room.Leave()
	c.scan.b = nil
	for _, in := range c.all {
		in.tensor.Data, in.tensor.Strings = nil, nil
	}
}

// Decode reads a request: its JSON, and the binary tensors that follow it. The
// tensors of Req alias both, and memory of c. Errors are of the kind InvalidArgument.
func (c *Call) Decode(json, binary []byte) error {
	s := &c.scan
	s.b, s.i = json, 0
	var seen fields
	err := s.object("an inference request, '{'", func(key []byte) error {
		switch string(key) {
		case "id":
			return c.text(&c.Req.ID, "an id, a string", seen.once(s, 0))
		case "parameters":
			if err := seen.once(s, 1); err != nil {
				return err
			}
			return s.object("parameters, '{'", c.requestParameter)
		case "inputs":
			if err := seen.once(s, 2); err != nil {
				return err
			}
			return s.array("the inputs, '['", c.input)
		case "outputs":
			if err := seen.once(s, 3); err != nil {
				return err
			}
			return s.array("the outputs, '['", c.output)
		case "model_name":
			return c.sameModel("model_name", c.Req.Model, seen.once(s, 4))
		case "model_version":
			return c.sameModel("model_version", c.Req.Version, seen.once(s, 5))
		}
		return s.errorf("expected one of the request's fields id, parameters, inputs, outputs, found %q", key)
	})
	if err != nil {
		return err
	}
	if s.peek() != 0 || s.i < len(s.b) {
		return s.errorf("expected nothing after the request's object, found %s", s.found())
	}
	if seen&(1<<2) == 0 {
		return serve.Errorf(serve.InvalidArgument, `request's JSON: the field "inputs" is missing`)
	}
	return c.finish(binary)
}

// fields marks the fields of an object that have been read.
type fields uint8

func (f *fields) once(s *scanner, bit uint) error {
	if *f&(1<<bit) != 0 {
		return s.errorf("expected each field once, found one again")
	}
	*f |= 1 << bit
	return nil
}

// text reads a string into dst, unless err is set.
func (c *Call) text(dst *string, what string, err error) error {
	if err != nil {
		return err
	}
	t, err := c.scan.text(what)
	if err == nil {
		*dst = c.scratch.Intern(t)
	}
	return err
}

// sameModel reads a name or version that may be in the body beside the path, as in Triton's examples.
func (c *Call) sameModel(field, path string, err error) error {
	var body string
	if err := c.text(&body, "a string", err); err != nil {
		return err
	}
	if body != path {
		return serve.Errorf(serve.InvalidArgument, "request's JSON: %s is %q, but the request's path says %q", field, body, path)
	}
	return nil
}

func (c *Call) requestParameter(key []byte) error {
	name := c.scratch.Intern(key)
	p, err := c.scan.param(key)
	if err != nil {
		return err
	}
	if name == "binary_data_output" {
		c.binaryAll, err = p.AsBool(name)
	} else {
		err = oip.SetParameter(&c.Req, name, p)
	}
	if err != nil {
		return serve.Errorf(serve.InvalidArgument, "%w", err)
	}
	return nil
}
