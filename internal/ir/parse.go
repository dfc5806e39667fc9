package ir

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"strings"
	"unicode"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// Parse reads a graph in the text form that String writes. Constants written as
// "…" get small pseudo-random contents that depend on their name alone.
// Operators are read under the given opset version; types of nodes' outputs may
// be left out.
func Parse(text string, opset int) (*Graph, error) {
	p := &parser{text: text, opset: opset}
	g, err := p.graph(nil)
	if err == nil && p.peek() != "" {
		err = fmt.Errorf("expected the end, found %q", p.peek())
	}
	if err != nil {
		return nil, fmt.Errorf("line %d: %w", 1+strings.Count(text[:p.start], "\n"), err)
	}
	return g, g.Sort()
}

type parser struct {
	text       string
	start, pos int // of the token read last, and behind it
	tok        string
	opset      int
}

// peek gives the next token without taking it: punctuation, a quoted string, or
// a run of other characters.
func (p *parser) peek() string {
	if p.tok != "" {
		return p.tok
	}
	for p.pos < len(p.text) && unicode.IsSpace(rune(p.text[p.pos])) {
		p.pos++
	}
	p.start = p.pos
	if p.pos == len(p.text) {
		return ""
	}
	rest := p.text[p.pos:]
	n := 1
	switch c := rest[0]; {
	case c == '"':
		n = quotedLen(rest)
	case c == '%' && strings.HasPrefix(rest, `%"`):
		n = 1 + quotedLen(rest[1:])
	case !strings.ContainsRune("{}()[]<>,=", rune(c)):
		n = strings.IndexFunc(rest, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune("{}()[]<>,=", r) })
		if n < 0 {
			n = len(rest)
		}
	}
	p.pos += n
	p.tok = rest[:n]
	return p.tok
}

func quotedLen(s string) int {
	if q, err := strconv.QuotedPrefix(s); err == nil {
		return len(q)
	}
	return len(s)
}

func (p *parser) next() string {
	t := p.peek()
	p.tok = ""
	return t
}

func (p *parser) accept(t string) bool {
	if p.peek() == t {
		p.next()
		return true
	}
	return false
}

func (p *parser) expect(t string) error {
	if got := p.next(); got != t {
		return fmt.Errorf("expected %q, found %q", t, got)
	}
	return nil
}

// values resolves names; the scopes around a subgraph are visible in it.
type values struct {
	outer *values
	byRef map[string]*Value
}

func (s *values) find(ref string) *Value {
	for ; s != nil; s = s.outer {
		if v := s.byRef[ref]; v != nil {
			return v
		}
	}
	return nil
}

func (p *parser) graph(outer *values) (*Graph, error) {
	if err := p.expect("graph"); err != nil {
		return nil, err
	}
	name, err := strconv.Unquote(p.next())
	if err != nil {
		return nil, fmt.Errorf("the graph's name must be quoted")
	}
	g := &Graph{Name: name, Opsets: map[string]int{"": p.opset}}
	scope := &values{outer, map[string]*Value{}}
	if err := p.expect("{"); err != nil {
		return nil, err
	}
	for !p.accept("}") {
		if err := p.line(g, scope); err != nil {
			return nil, err
		}
	}
	return g, nil
}

func (p *parser) line(g *Graph, s *values) error {
	switch p.peek() {
	case "":
		return fmt.Errorf("the graph is not closed")
	case "input":
		p.next()
		v, err := p.define(s)
		if err != nil {
			return err
		}
		g.Inputs = append(g.Inputs, v)
		v.Type, err = p.typ()
		return err
	case "const":
		p.next()
		v, err := p.define(s)
		if err != nil {
			return err
		}
		t, err := p.tensor(v.Name)
		if err != nil {
			return err
		}
		*v = *NewConst(v.Name, t)
		return nil
	case "output":
		p.next()
		return p.output(g, s)
	}
	return p.node(g, s)
}

// define reads a reference and makes its value.
func (p *parser) define(s *values) (*Value, error) {
	r := p.next()
	name, err := refName(r)
	if err != nil {
		return nil, err
	}
	if s.byRef[name] != nil {
		return nil, fmt.Errorf("%s is defined twice", r)
	}
	v := NewValue(name, Type{})
	s.byRef[name] = v
	return v, nil
}

func refName(r string) (string, error) {
	name, ok := strings.CutPrefix(r, "%")
	if !ok || name == "" {
		return "", fmt.Errorf("expected a value such as %%x, found %q", r)
	}
	if name[0] == '"' {
		return strconv.Unquote(name)
	}
	return name, nil
}

func (p *parser) use(s *values) (*Value, error) {
	r := p.next()
	if r == "_" {
		return nil, nil
	}
	name, err := refName(r)
	if err != nil {
		return nil, err
	}
	v := s.find(name)
	if v == nil {
		return nil, fmt.Errorf("%s is not defined", r)
	}
	return v, nil
}

func (p *parser) output(g *Graph, s *values) error {
	name := ""
	if t := p.peek(); strings.HasPrefix(t, `"`) {
		name, _ = strconv.Unquote(p.next())
	}
	v, err := p.use(s)
	if err != nil || v == nil {
		return fmt.Errorf("output: expected a value: %w", err)
	}
	if name == "" {
		name = v.Name
	}
	g.AddOutput(name, v)
	return nil
}

// typ reads e.g. float32[n,3]; ? is an unknown element type, [*] an unknown rank.
func (p *parser) typ() (Type, error) {
	var t Type
	name := p.next()
	if name != "?" {
		if t.DType = dtype.Parse(name); t.DType == dtype.Invalid {
			return t, fmt.Errorf("expected an element type, found %q", name)
		}
	}
	if p.accept("(") {
		elem, err := p.typ()
		t.Elem = &elem
		if err != nil {
			return t, err
		}
		return t, p.expect(")")
	}
	if err := p.expect("["); err != nil {
		return t, err
	}
	if p.accept("*") {
		return t, p.expect("]")
	}
	t.Shape = shape.Shape{}
	for !p.accept("]") {
		if len(t.Shape) > 0 {
			if err := p.expect(","); err != nil {
				return t, err
			}
		}
		d := p.next()
		for p.peek() == "(" || p.peek() == ")" { // floor((…)/(…)) of an inferred dimension
			d += p.next()
			if p.peek() != "]" && p.peek() != "," && p.peek() != ")" && p.peek() != "(" {
				d += p.next()
			}
		}
		if n, err := strconv.Atoi(d); err == nil {
			t.Shape = append(t.Shape, shape.Const(n))
		} else {
			t.Shape = append(t.Shape, shape.Sym(d))
		}
	}
	return t, nil
}

// maxParsed bounds the elements of a constant in text form.
const maxParsed = 1 << 20

// tensor reads TYPE = contents.
func (p *parser) tensor(name string) (*tensor.Tensor, error) {
	ty, err := p.typ()
	if err != nil {
		return nil, err
	}
	dims, ok := ty.Shape.Ints()
	if !ok {
		return nil, fmt.Errorf("a constant needs a fixed shape, found %s", ty)
	}
	if err := p.expect("="); err != nil {
		return nil, err
	}
	if n, ok := ty.Shape.Count().Int(); !ok || n < 0 || n > maxParsed {
		return nil, fmt.Errorf("a constant of shape %s is too large for the text form", ty.Shape)
	}
	t := tensor.New(ty.DType, dims...)
	if p.accept("…") {
		randomize(t, name)
		return t, nil
	}
	for i := range t.Len() {
		if err := setElement(t, i, p.next()); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// randomize fills t with numbers that depend on its name alone: between 0.5 and
// 1.5 for floats, so that they serve as variances too; 0 or 1 for integers.
func randomize(t *tensor.Tensor, name string) {
	h := fnv.New64()
	h.Write([]byte(name))
	rng := rand.New(rand.NewPCG(h.Sum64(), 1))
	for i := range t.Len() {
		if t.DType.IsFloat() {
			_ = setElement(t, i, strconv.FormatFloat(0.5+rng.Float64(), 'g', 8, 64))
		} else {
			_ = setElement(t, i, strconv.Itoa(rng.IntN(2)))
		}
	}
}

func setElement(t *tensor.Tensor, i int, s string) error {
	var err error
	switch {
	case t.DType == dtype.String:
		t.Strings[i], err = strconv.Unquote(s)
	case t.DType == dtype.Bool:
		var v bool
		v, err = strconv.ParseBool(s)
		if v {
			t.Data[i] = 1
		}
	case t.DType.IsFloat():
		var v float64
		v, err = strconv.ParseFloat(s, 64)
		switch t.DType {
		case dtype.Float32:
			tensor.Of[float32](t)[i] = float32(v)
		case dtype.Float64:
			tensor.Of[float64](t)[i] = v
		case dtype.Float16:
			tensor.Of[uint16](t)[i] = dtype.F32ToF16(float32(v))
		case dtype.BFloat16:
			tensor.Of[uint16](t)[i] = dtype.F32ToBF16(float32(v))
		}
	default:
		var v int64
		v, err = strconv.ParseInt(s, 10, 64)
		for b := range t.DType.Bits() / 8 {
			t.Data[i*t.DType.Bits()/8+b] = byte(v >> (8 * b))
		}
	}
	if err != nil {
		return fmt.Errorf("element %d of a %s: %w", i, t.DType, err)
	}
	return nil
}

func (p *parser) node(g *Graph, s *values) error {
	outs, err := p.outputs(s)
	if err != nil {
		return err
	}
	domain, op, ok := strings.Cut(p.next(), "::")
	if !ok {
		domain, op = "", domain
	}
	if err := p.expect("("); err != nil {
		return err
	}
	var ins []*Value
	for !p.accept(")") {
		if len(ins) > 0 {
			if err := p.expect(","); err != nil {
				return err
			}
		}
		v, err := p.use(s)
		if err != nil {
			return err
		}
		ins = append(ins, v)
	}
	attrs, err := p.attrs(s)
	if err != nil {
		return err
	}
	opset := p.opset
	if domain != "" {
		opset = 1
	}
	g.Nodes = append(g.Nodes, NewNode(domain, op, opset, ins, outs, attrs))
	return nil
}

// outputs reads the left side of a node up to and with the equals sign.
func (p *parser) outputs(s *values) ([]*Value, error) {
	var outs []*Value
	for {
		if p.accept("_") {
			outs = append(outs, nil)
		} else {
			v, err := p.define(s)
			if err != nil {
				return nil, err
			}
			if t := p.peek(); t != "," && t != "=" {
				if v.Type, err = p.typ(); err != nil {
					return nil, err
				}
			}
			outs = append(outs, v)
		}
		if p.accept("=") {
			return outs, nil
		}
		if err := p.expect(","); err != nil {
			return nil, err
		}
	}
}

func (p *parser) attrs(s *values) (map[string]*Attr, error) {
	attrs := map[string]*Attr{}
	if !p.accept("{") {
		return attrs, nil
	}
	for !p.accept("}") {
		if len(attrs) > 0 {
			if err := p.expect(","); err != nil {
				return nil, err
			}
		}
		name := p.next()
		if err := p.expect("="); err != nil {
			return nil, err
		}
		a, err := p.attr(name, s)
		if err != nil {
			return nil, fmt.Errorf("attribute %s: %w", name, err)
		}
		attrs[name] = a
	}
	return attrs, nil
}

func (p *parser) attr(name string, s *values) (*Attr, error) {
	switch p.peek() {
	case "graph":
		g, err := p.graph(s)
		return GraphAttr(g), err
	case "<":
		p.next()
		t, err := p.tensor(name)
		if err != nil {
			return nil, err
		}
		return TensorAttr(t), p.expect(">")
	case "[":
		p.next()
		return p.list()
	}
	return scalarAttr(p.next())
}

func scalarAttr(t string) (*Attr, error) {
	if strings.HasPrefix(t, `"`) {
		s, err := strconv.Unquote(t)
		return Str(s), err
	}
	if n, err := strconv.ParseInt(t, 10, 64); err == nil {
		return Int(n), nil
	}
	f, err := strconv.ParseFloat(t, 32)
	return Float(float32(f)), err
}

// list reads the rest of a list; an empty one is a list of integers.
func (p *parser) list() (*Attr, error) {
	out := Ints[int64]()
	for n := 0; !p.accept("]"); n++ {
		if n > 0 {
			if err := p.expect(","); err != nil {
				return out, err
			}
		}
		a, err := scalarAttr(p.next())
		if err != nil {
			return out, err
		}
		switch a.Kind {
		case KindInt:
			out.Ints = append(out.Ints, a.Int)
		case KindFloat:
			out.Kind, out.Floats = KindFloats, append(out.Floats, a.Float)
		case KindString:
			out.Kind, out.Strs = KindStrings, append(out.Strs, a.Str)
		}
	}
	return out, nil
}
