package onnx

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// The messages of onnx.proto as far as inference needs them. Field numbers are
// those of the specification; fields that cannot change a result (doc strings,
// producer, metadata of nodes, training information) are passed over.

type modelProto struct {
	irVersion    int64
	producer     string
	producerVer  string
	doc          string
	domain       string
	version      int64
	graph        []byte
	opsets       map[string]int
	meta         map[string]string
	functions    []*functionProto
	sawGraph     bool
	trainingInfo bool
}

type graphProto struct {
	name         string
	doc          string
	nodes        []*nodeProto
	initializers []*tensorProto
	sparse       [][]byte
	inputs       []valueInfo
	outputs      []valueInfo
	valueInfo    []valueInfo
}

type nodeProto struct {
	name, op, domain, overload string
	inputs, outputs            []string
	attrs                      [][]byte
}

type functionProto struct {
	name, domain, overload string
	inputs, outputs        []string
	attrs                  []string // names without default
	defaults               [][]byte // AttributeProto
	nodes                  []*nodeProto
	opsets                 map[string]int
}

type valueInfo struct {
	name string
	typ  []byte
}

func parseModel(b []byte) (*modelProto, error) {
	m := &modelProto{opsets: map[string]int{}, meta: map[string]string{}}
	err := fields(b, func(f field) error {
		switch f.id {
		case 1:
			m.irVersion = int64(f.num)
		case 2:
			m.producer = string(f.bytes)
		case 3:
			m.producerVer = string(f.bytes)
		case 4:
			m.domain = string(f.bytes)
		case 5:
			m.version = int64(f.num)
		case 6:
			m.doc = string(f.bytes)
		case 7:
			m.graph, m.sawGraph = f.bytes, true
			return f.want(protowire.BytesType, "graph")
		case 8:
			return parseOpset(f.bytes, m.opsets)
		case 14:
			return parseEntry(f.bytes, m.meta)
		case 20:
			m.trainingInfo = true
		case 25:
			fn, err := parseFunction(f.bytes)
			if err != nil {
				return err
			}
			m.functions = append(m.functions, fn)
		}
		return nil
	})
	return m, err
}

func parseOpset(b []byte, into map[string]int) error {
	domain, version := "", int64(0)
	err := fields(b, func(f field) error {
		switch f.id {
		case 1:
			domain = string(f.bytes)
		case 2:
			version = int64(f.num)
		}
		return nil
	})
	into[normalDomain(domain)] = int(version)
	return err
}

// normalDomain maps the two spellings of ONNX's own domain to one.
func normalDomain(d string) string {
	if d == "ai.onnx" {
		return ""
	}
	return d
}

func parseEntry(b []byte, into map[string]string) error {
	k, v := "", ""
	err := fields(b, func(f field) error {
		switch f.id {
		case 1:
			k = string(f.bytes)
		case 2:
			v = string(f.bytes)
		}
		return nil
	})
	into[k] = v
	return err
}

func parseGraph(b []byte) (*graphProto, error) {
	g := &graphProto{}
	err := fields(b, func(f field) error {
		switch f.id {
		case 1:
			n, err := parseNode(f.bytes)
			g.nodes = append(g.nodes, n)
			return err
		case 2:
			g.name = string(f.bytes)
		case 5:
			t, err := parseTensor(f.bytes)
			g.initializers = append(g.initializers, t)
			return err
		case 10:
			g.doc = string(f.bytes)
		case 11, 12, 13:
			v, err := parseValueInfo(f.bytes)
			switch f.id {
			case 11:
				g.inputs = append(g.inputs, v)
			case 12:
				g.outputs = append(g.outputs, v)
			default:
				g.valueInfo = append(g.valueInfo, v)
			}
			return err
		case 15:
			g.sparse = append(g.sparse, f.bytes)
		}
		return nil
	})
	return g, err
}

func parseNode(b []byte) (*nodeProto, error) {
	n := &nodeProto{}
	err := fields(b, func(f field) error {
		switch f.id {
		case 1:
			n.inputs = append(n.inputs, string(f.bytes))
		case 2:
			n.outputs = append(n.outputs, string(f.bytes))
		case 3:
			n.name = string(f.bytes)
		case 4:
			n.op = string(f.bytes)
		case 5:
			n.attrs = append(n.attrs, f.bytes)
		case 7:
			n.domain = normalDomain(string(f.bytes))
		case 8:
			n.overload = string(f.bytes)
		}
		return nil
	})
	return n, err
}

func parseFunction(b []byte) (*functionProto, error) {
	fn := &functionProto{opsets: map[string]int{}}
	err := fields(b, func(f field) error {
		switch f.id {
		case 1:
			fn.name = string(f.bytes)
		case 4:
			fn.inputs = append(fn.inputs, string(f.bytes))
		case 5:
			fn.outputs = append(fn.outputs, string(f.bytes))
		case 6:
			fn.attrs = append(fn.attrs, string(f.bytes))
		case 7:
			n, err := parseNode(f.bytes)
			fn.nodes = append(fn.nodes, n)
			return err
		case 9:
			return parseOpset(f.bytes, fn.opsets)
		case 10:
			fn.domain = normalDomain(string(f.bytes))
		case 11:
			fn.defaults = append(fn.defaults, f.bytes)
		case 13:
			fn.overload = string(f.bytes)
		}
		return nil
	})
	return fn, err
}

func parseValueInfo(b []byte) (valueInfo, error) {
	var v valueInfo
	err := fields(b, func(f field) error {
		switch f.id {
		case 1:
			v.name = string(f.bytes)
		case 2:
			v.typ = f.bytes
		}
		return nil
	})
	if err != nil {
		return v, fmt.Errorf("value %q: %w", v.name, err)
	}
	return v, nil
}
