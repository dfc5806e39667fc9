package inferbody

import (
	"errors"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/limit"
	"github.com/salver-ml/salver/internal/oip"
	"github.com/salver-ml/salver/internal/rest/jsonnum"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/tensor"
)

// output reads one requested output.
func (c *Call) output() error {
	s := &c.scan
	var o output
	var seen fields
	err := s.object("an output, '{'", func(key []byte) error {
		switch string(key) {
		case "name":
			return c.text(&o.name, "an output's name, a string", seen.once(s, 0))
		case "parameters":
			if err := seen.once(s, 1); err != nil {
				return err
			}
			return s.object("an output's parameters, '{'", func(key []byte) error { return c.outputParameter(&o, key) })
		}
		return s.errorf("expected one of an output's fields name, parameters, found %q", key)
	})
	if err != nil {
		return err
	}
	if seen&1 == 0 {
		return s.errorf("expected an output with a name, found none")
	}
	c.outputs = append(c.outputs, o)
	c.Req.Outputs = append(c.Req.Outputs, o.name)
	return nil
}

func (c *Call) outputParameter(o *output, key []byte) error {
	name := c.scratch.Intern(key)
	p, err := c.scan.param(key)
	if err != nil {
		return err
	}
	switch name {
	case "binary_data":
		var b bool
		b, err = p.AsBool(name)
		o.binary = no
		if b {
			o.binary = yes
		}
	case "classification":
		o.classes, err = p.AsCount(name)
	default:
		err = oip.TensorParameter(name)
	}
	return inTensor("output", o.name, len(c.outputs), err)
}

// inTensor says in which input or output an error is: the i-th, counted from 0, where its name isn't known yet.
func inTensor(what, name string, i int, err error) error {
	if err == nil {
		return nil
	}
	if _, full := errors.AsType[*limit.FullError](err); full {
		return err
	}
	if name == "" {
		return serve.Errorf(serve.InvalidArgument, "%s %d: %w", what, i, err)
	}
	return serve.Errorf(serve.InvalidArgument, "%s %q: %w", what, name, err)
}

// input reads one input.
func (c *Call) input() error {
	s := &c.scan
	in := c.nextInput()
	var seen fields
	err := s.object("an input, '{'", func(key []byte) error {
		switch string(key) {
		case "name":
			return c.text(&in.name, "an input's name, a string", seen.once(s, 0))
		case "datatype":
			if err := seen.once(s, 1); err != nil {
				return err
			}
			return c.datatype(in)
		case "shape":
			if err := seen.once(s, 2); err != nil {
				return err
			}
			return c.shape(in)
		case "parameters":
			if err := seen.once(s, 3); err != nil {
				return err
			}
			return s.object("an input's parameters, '{'", func(key []byte) error { return c.inputParameter(in, key) })
		case "data":
			if err := seen.once(s, 4); err != nil {
				return err
			}
			if in.data = s.i; in.shaped && in.tensor.DType != dtype.Invalid {
				return c.readData(in)
			}
			return s.skipArray(oip.MaxRank)
		}
		return s.errorf("expected one of an input's fields name, datatype, shape, parameters, data, found %q", key)
	})
	if err == nil {
		err = c.complete(in, seen)
	}
	return inTensor("input", in.name, len(c.inputs)-1, err)
}

// nextInput takes an input from those of earlier requests, or makes one.
func (c *Call) nextInput() *input {
	n := len(c.inputs)
	if n == len(c.all) {
		c.all = append(c.all, new(input))
	}
	in := c.all[n]
	*in = input{tensor: tensor.Tensor{Shape: in.tensor.Shape[:0]}, binarySize: -1, data: -1}
	c.inputs = c.all[:n+1]
	return in
}

func (c *Call) datatype(in *input) error {
	t, err := c.scan.text("a datatype, a string")
	if err != nil {
		return err
	}
	if in.tensor.DType = oip.Datatype(t); in.tensor.DType == dtype.Invalid {
		return oip.ErrDatatype(string(t))
	}
	return nil
}

func (c *Call) shape(in *input) error {
	s := &c.scan
	if in.tensor.Shape == nil {
		in.tensor.Shape = make([]int, 0, 4)
	}
	err := s.array("a shape, '['", func() error {
		s.peek()
		d, next, err := jsonnum.Int(s.b, s.i, 64)
		if err != nil || int64(int(d)) != d {
			return s.errorf("expected a dimension, an integer of at least 0, found %s", s.found())
		}
		s.i = next
		if len(in.tensor.Shape) == oip.MaxRank {
			return s.errorf("expected at most %d dimensions", oip.MaxRank)
		}
		in.tensor.Shape = append(in.tensor.Shape, int(d))
		return nil
	})
	if err == nil {
		in.elements, err = oip.Elements(in.tensor.Shape)
	}
	in.shaped = err == nil
	return err
}

func (c *Call) inputParameter(in *input, key []byte) error {
	name := c.scratch.Intern(key)
	p, err := c.scan.param(key)
	if err != nil {
		return err
	}
	if name == "binary_data_size" {
		in.binarySize, err = p.AsCount(name)
		return err
	}
	return oip.TensorParameter(name)
}

// stringBytes is what an element of a BYTES tensor takes beside its contents.
const stringBytes = 16

// readData reads the elements at the current place.
func (c *Call) readData(in *input) error {
	s, t := &c.scan, &in.tensor
	if in.elements > len(s.b) { // each element takes a byte at least
		return s.errorf("data: expected %d elements for shape %v, found fewer: the request has %d bytes", in.elements, t.Shape, len(s.b))
	}
	if t.DType == dtype.String {
		if err := c.Room.Add(in.elements*stringBytes + len(s.b) - s.i); err != nil {
			return err
		}
		t.Strings = make([]string, in.elements)
	} else {
		if err := c.Room.Add(t.DType.Bytes(in.elements)); err != nil {
			return err
		}
		t.Data = c.scratch.Alloc(t.DType.Bytes(in.elements))
	}
	in.hasData = true
	return s.data(t, in.elements)
}

// complete checks that an input's fields fit together and reads data that came before its datatype or shape.
func (c *Call) complete(in *input, seen fields) error {
	s := &c.scan
	for i, f := range [...]string{"name", "datatype", "shape"} {
		if seen&(1<<i) == 0 {
			return s.errorf("the field %q is missing", f)
		}
	}
	switch {
	case in.binarySize >= 0 && in.data >= 0:
		return s.errorf(`expected either the field "data" or the parameter "binary_data_size", found both`)
	case in.binarySize < 0 && in.data < 0:
		return s.errorf(`expected the field "data" or the parameter "binary_data_size", found neither`)
	case in.data >= 0 && !in.hasData:
		end := s.i
		s.i = in.data
		err := c.readData(in)
		if err == nil {
			s.i = end
		}
		return err
	}
	return nil
}

// finish gives the inputs their binary contents and names.
func (c *Call) finish(binary []byte) error {
	left := binary
	for i, in := range c.inputs {
		if in.binarySize >= 0 {
			if in.binarySize > len(left) {
				return inTensor("input", in.name, i, serve.Errorf(serve.InvalidArgument,
					"binary_data_size is %d, but %d bytes of the body are left", in.binarySize, len(left)))
			}
			raw := left[:in.binarySize:in.binarySize]
			if in.tensor.DType == dtype.String {
				if err := c.Room.Add(len(raw) + min(in.elements, len(raw)/4)*stringBytes); err != nil {
					return err
				}
			}
			if err := oip.SetRaw(&in.tensor, in.elements, raw); err != nil {
				return inTensor("input", in.name, i, err)
			}
			left = left[in.binarySize:]
		}
		c.Req.Inputs = append(c.Req.Inputs, serve.NamedTensor{Name: in.name, Tensor: &in.tensor})
	}
	if len(left) > 0 {
		return serve.Errorf(serve.InvalidArgument,
			"the body has %d bytes after its JSON, the inputs' binary_data_size account for %d of them", len(binary), len(binary)-len(left))
	}
	return nil
}
