package ir

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/tensor"
)

// The text form, for goldens that people read. Parse reads it back.
//
//	graph "main" {
//	  input %x float32[n,3]
//	  const %w float32[3,2] = 1 2 3 4 5 6
//	  const %big float32[64,64] = …                 larger constants: no contents
//	  %y float32[n,2] = MatMul(%x, %w)
//	  %a, _ = TopK(%y, %k) {axis = -1, largest = 1}
//	  output %y
//	  output "name" %a
//	}

// maxPrinted bounds the constants whose contents are written.
const maxPrinted = 16

// String writes the graph in text form.
func (g *Graph) String() string {
	var b strings.Builder
	g.write(&b, "")
	return b.String()
}

// WriteTo writes the graph in text form.
func (g *Graph) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, g.String())
	return int64(n), err
}

func (g *Graph) write(b *strings.Builder, indent string) {
	fmt.Fprintf(b, "graph %q {\n", g.Name)
	in := indent + "  "
	for _, v := range g.Inputs {
		fmt.Fprintf(b, "%sinput %s %s\n", in, ref(v), v.Type)
	}
	seen := map[*Value]bool{}
	constant := func(v *Value) {
		if v != nil && v.Const != nil && !seen[v] {
			seen[v] = true
			fmt.Fprintf(b, "%sconst %s %s = %s\n", in, ref(v), v.Const, contents(v.Const))
		}
	}
	for _, n := range g.Nodes {
		for _, v := range n.In {
			constant(v)
		}
		n.write(b, in)
	}
	for _, o := range g.Outputs {
		constant(o.Value)
		if o.Value != nil && o.Name == o.Value.Name {
			fmt.Fprintf(b, "%soutput %s\n", in, ref(o.Value))
		} else {
			fmt.Fprintf(b, "%soutput %q %s\n", in, o.Name, ref(o.Value))
		}
	}
	fmt.Fprintf(b, "%s}\n", indent)
}

// Text is the line that stands for n in the text form.
func (n *Node) Text() string {
	var b strings.Builder
	n.write(&b, "")
	return strings.TrimSuffix(b.String(), "\n")
}

func (n *Node) write(b *strings.Builder, indent string) {
	outs := make([]string, len(n.Out))
	for i, v := range n.Out {
		outs[i] = ref(v)
		if v != nil && (v.Type.DType != dtype.Invalid || v.Type.Shape != nil) {
			outs[i] += " " + v.Type.String()
		}
	}
	ins := make([]string, len(n.In))
	for i, v := range n.In {
		ins[i] = ref(v)
	}
	fmt.Fprintf(b, "%s%s = %s(%s)", indent, strings.Join(outs, ", "), n.FullName(), strings.Join(ins, ", "))
	if len(n.Attrs) > 0 {
		b.WriteString(" {")
		for i, k := range sortedKeys(n.Attrs) {
			if i > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(b, "%s = ", k)
			n.Attrs[k].write(b, indent)
		}
		b.WriteString("}")
	}
	b.WriteString("\n")
}

func sortedKeys(m map[string]*Attr) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// ref writes a reference to a value: %name, or %"name" where it has unusual
// characters; _ stands for none.
func ref(v *Value) string {
	if v == nil {
		return "_"
	}
	if v.Name != "" && strings.IndexFunc(v.Name, func(r rune) bool { return !nameRune(r) }) < 0 {
		return "%" + v.Name
	}
	return "%" + strconv.Quote(v.Name)
}

func nameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_./:-", r)
}

func contents(t *tensor.Tensor) string {
	if t.Len() > maxPrinted || t.DType.Bits() > 0 && t.DType.Bits() < 8 {
		return "…"
	}
	vals := make([]string, t.Len())
	for i := range vals {
		vals[i] = t.Text(i)
	}
	return strings.Join(vals, " ")
}

// String writes the value as the text form has it.
func (a *Attr) String() string {
	var b strings.Builder
	a.write(&b, "")
	return b.String()
}

func (a *Attr) write(b *strings.Builder, indent string) {
	switch a.Kind {
	case KindInt:
		fmt.Fprint(b, a.Int)
	case KindFloat:
		b.WriteString(floatText(a.Float))
	case KindString:
		b.WriteString(strconv.Quote(a.Str))
	case KindInts:
		writeList(b, a.Ints, func(v int64) string { return strconv.FormatInt(v, 10) })
	case KindFloats:
		writeList(b, a.Floats, floatText)
	case KindStrings:
		writeList(b, a.Strs, strconv.Quote)
	case KindTensor:
		fmt.Fprintf(b, "<%s = %s>", a.Tensor, contents(a.Tensor))
	case KindGraph:
		var g strings.Builder
		a.Graph.write(&g, indent+"  ")
		b.WriteString(strings.TrimSuffix(g.String(), "\n"))
	default:
		fmt.Fprintf(b, "<%s>", a.Kind)
	}
}

func writeList[T any](b *strings.Builder, vals []T, text func(T) string) {
	b.WriteString("[")
	for i, v := range vals {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(text(v))
	}
	b.WriteString("]")
}

// floatText writes a float so that it cannot be taken for an integer.
func floatText(f float32) string {
	s := strconv.FormatFloat(float64(f), 'g', -1, 32)
	if strings.IndexFunc(s, func(r rune) bool { return r != '-' && (r < '0' || r > '9') }) < 0 {
		s += ".0"
	}
	return s
}
