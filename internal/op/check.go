package op

import (
	"fmt"
	"slices"
	"strings"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
)

// Complete checks a node against its operator's schema (number of inputs and
// outputs, attributes and their kinds, element types as far as they are known)
// and fills in the attributes' defaults.
func Complete(n *ir.Node) error {
	o := Of(n)
	if o == nil {
		return unknown(n)
	}
	if err := o.checkAttrs(n); err != nil {
		return fmt.Errorf("%s: %w", n, err)
	}
	if err := checkArity("input", o.In, n.In); err != nil {
		return fmt.Errorf("%s: %w", n, err)
	}
	if err := checkArity("output", o.Out, n.Out); err != nil {
		return fmt.Errorf("%s: %w", n, err)
	}
	in := make([]Fact, len(n.In))
	for i, v := range n.In {
		in[i] = FactOf(v)
	}
	if err := o.checkTypes(in); err != nil {
		return fmt.Errorf("%s: %w", n, err)
	}
	return nil
}

func unknown(n *ir.Node) error {
	if Exists(n.Domain, n.Op) {
		return fmt.Errorf("%s: not supported at opset %d", n, n.Opset)
	}
	if err := refusal(n); err != nil {
		return err
	}
	return fmt.Errorf("%s: operator is not supported", n)
}

func (o *Op) checkAttrs(n *ir.Node) error {
	for name, a := range n.Attrs {
		spec, ok := o.Attrs[name]
		if !ok {
			return fmt.Errorf("attribute %q is unknown at opset %d", name, n.Opset)
		}
		if a.Kind != spec.Kind {
			return fmt.Errorf("attribute %q: expected %s, found %s", name, spec.Kind, a.Kind)
		}
	}
	for name, spec := range o.Attrs {
		if n.Has(name) {
			continue
		}
		if spec.Required {
			return fmt.Errorf("attribute %q is missing", name)
		}
		if spec.Default != nil {
			n.Attrs[name] = spec.Default
		}
	}
	return nil
}

func checkArity(what string, ports []Port, vals []*ir.Value) error {
	least, most := 0, len(ports)
	for i, p := range ports {
		switch {
		case p.Variadic:
			most = -1
			if !p.Optional {
				least = i + 1
			}
		case !p.Optional && what == "input":
			least = i + 1
		}
	}
	if what == "input" && len(vals) < least || most >= 0 && len(vals) > most {
		return fmt.Errorf("expected %s, found %d", arity(what, least, most), len(vals))
	}
	for i, v := range vals {
		if p := port(ports, i); what == "input" && v == nil && (!p.Optional || p.Variadic) { // a variadic one may be absent as a whole
			return fmt.Errorf("input %d (%s) is missing", i, p.Name)
		}
	}
	return nil
}

func arity(what string, least, most int) string {
	switch {
	case most < 0:
		return fmt.Sprintf("at least %d %ss", least, what)
	case least == most:
		return fmt.Sprintf("%d %ss", least, what)
	}
	return fmt.Sprintf("%d to %d %ss", least, most, what)
}

// port gives the formal parameter of position i.
func port(ports []Port, i int) *Port {
	if i < len(ports) {
		return &ports[i]
	}
	if n := len(ports); n > 0 && ports[n-1].Variadic {
		return &ports[n-1]
	}
	return nil
}

// checkTypes compares the inputs' types, as far as they are known, with the
// schema. The inputs of a variadic parameter share a type where the schema lists
// its types, and may differ where it does not, as those of Loop.
func (o *Op) checkTypes(in []Fact) error {
	bound := map[string]dtype.Type{}
	for i, f := range in {
		p := port(o.In, i)
		if f.DType == dtype.Invalid || p == nil {
			continue
		}
		if !o.allows(p.Type, f.DType) {
			return fmt.Errorf("input %d (%s) has type %s, expected %s", i, p.Name, f.DType, o.typeNames(p.Type))
		}
		if p.Variadic && o.Types[p.Type] == nil || f.DType == dtype.Sequence || f.DType == dtype.Optional {
			continue
		}
		if b, ok := bound[p.Type]; ok && b != f.DType {
			return fmt.Errorf("input %d (%s) has type %s, expected %s as the other inputs of type %s", i, p.Name, f.DType, b, p.Type)
		}
		bound[p.Type] = f.DType
	}
	return nil
}

// allows reports whether a type parameter may be dt. Sequences and optionals
// are checked by the operators that take them.
func (o *Op) allows(param string, dt dtype.Type) bool {
	if types, ok := o.Types[param]; ok {
		return slices.Contains(types, dt)
	}
	if t := dtype.Parse(param); t != dtype.Invalid {
		return t == dt
	}
	return true
}

func (o *Op) typeNames(param string) string {
	types, ok := o.Types[param]
	if !ok {
		return param
	}
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = t.String()
	}
	return strings.Join(names, ", ")
}
