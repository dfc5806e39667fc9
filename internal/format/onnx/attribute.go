package onnx

import (
	"fmt"

	"github.com/salver-ml/salver/internal/ir"
)

// AttributeProto.AttributeType; a sparse tensor (11) is read as a dense one.
var attrKinds = map[uint64]ir.Kind{
	1: ir.KindFloat, 2: ir.KindInt, 3: ir.KindString, 4: ir.KindTensor, 5: ir.KindGraph, 6: ir.KindFloats, 7: ir.KindInts,
	8: ir.KindStrings, 9: ir.KindTensors, 10: ir.KindGraphs, sparseTensor: ir.KindTensor, 13: ir.KindType,
}

// sparseTensor is the code of attributes whose sparse tensors become dense ones.
const sparseTensor = 11

func (im *importer) attributes(protos [][]byte, s *scope, depth int) (map[string]*ir.Attr, error) {
	attrs := make(map[string]*ir.Attr, len(protos))
	for _, b := range protos {
		name, a, ref, err := im.attribute(b, s, depth)
		if err != nil {
			return nil, err
		}
		if ref != "" {
			var known bool
			if a, known = s.attrs[ref]; !known {
				return nil, fmt.Errorf("attribute %q refers to %q, which the function does not declare", name, ref)
			}
			if a == nil {
				continue // not given by the caller: absent here too
			}
		}
		if _, twice := attrs[name]; twice {
			return nil, fmt.Errorf("attribute %q is given twice", name)
		}
		attrs[name] = a
	}
	return attrs, nil
}

// attribute reads an AttributeProto; ref is the name of the function's
// attribute that it stands for, if any.
func (im *importer) attribute(b []byte, s *scope, depth int) (name string, a *ir.Attr, ref string, err error) {
	a = &ir.Attr{}
	err = fields(b, func(f field) (err error) {
		switch f.id {
		case 1:
			name = string(f.bytes)
		case 2:
			a.Float = f.float()
			guessKind(a, ir.KindFloat)
		case 3:
			a.Int = int64(f.num)
			guessKind(a, ir.KindInt)
		case 4:
			a.Str = string(f.bytes)
			guessKind(a, ir.KindString)
		case 7:
			a.Floats, err = f.floats(a.Floats)
			guessKind(a, ir.KindFloats)
		case 8:
			a.Ints, err = f.ints(a.Ints)
			guessKind(a, ir.KindInts)
		case 9:
			a.Strs = append(a.Strs, string(f.bytes))
			guessKind(a, ir.KindStrings)
		case 20:
			kind, ok := attrKinds[f.num]
			if !ok {
				return fmt.Errorf("type %d is not supported", f.num)
			}
			a.Kind = kind
		case 21:
			ref = string(f.bytes)
		default:
			err = im.nestedAttribute(f, a, s, depth)
		}
		return err
	})
	if err != nil {
		return "", nil, "", fmt.Errorf("attribute %q: %w", name, err)
	}
	if a.Kind == ir.KindNone && ref == "" {
		return "", nil, "", fmt.Errorf("attribute %q has neither a type nor a value", name)
	}
	return name, a, ref, nil
}

// nestedAttribute reads the fields that hold tensors, graphs and types.
func (im *importer) nestedAttribute(f field, a *ir.Attr, s *scope, depth int) error {
	switch f.id {
	case 5, 10:
		p, err := parseTensor(f.bytes)
		if err != nil {
			return err
		}
		t, err := p.decode(im.ext)
		if err != nil {
			return err
		}
		if f.id == 5 {
			a.Tensor = t
			guessKind(a, ir.KindTensor)
		} else {
			a.Tensors = append(a.Tensors, t)
			guessKind(a, ir.KindTensors)
		}
	case 6, 11:
		inner := &scope{parent: s, values: map[string]*ir.Value{}, prefix: s.prefix, attrs: s.attrs, opsets: s.opsets, calls: s.calls,
			graph: &ir.Graph{Opsets: s.opsets}}
		if err := im.graph(f.bytes, inner, depth+1); err != nil {
			return err
		}
		if f.id == 6 {
			a.Graph = inner.graph
			guessKind(a, ir.KindGraph)
		} else {
			a.Graphs = append(a.Graphs, inner.graph)
			guessKind(a, ir.KindGraphs)
		}
	case 14:
		t, err := parseType(f.bytes, 0)
		if err != nil {
			return err
		}
		a.Type = &t
		guessKind(a, ir.KindType)
	case 22:
		_, t, err := im.sparse(f.bytes)
		if err != nil {
			return err
		}
		a.Tensor = t
		guessKind(a, ir.KindTensor)
	case 23:
		return fmt.Errorf("lists of sparse tensors are not supported")
	}
	return nil
}

// guessKind sets the kind from the field that is present: files of IR version 1
// do not state it.
func guessKind(a *ir.Attr, k ir.Kind) {
	if a.Kind == ir.KindNone {
		a.Kind = k
	}
}
