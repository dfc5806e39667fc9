package jinja

import "strings"

// PythonCall is a function call with named arguments, as Python writes it.
type PythonCall struct {
	Name      string // with dots, if it has some
	Arguments *Map
}

// PythonCalls reads one call, or a list of calls, whose arguments are literals:
// `[f(a="x", b=[1, None]), g()]`. Some models write tool calls so.
func PythonCalls(text string) (calls []PythonCall, err error) {
	defer catch(&err)
	p := &parser{toks: lex("{{ " + text + " }}")}
	p.expect(tokVarBegin, "an expression")
	x := p.expression()
	p.expect(tokVarEnd, "the end")
	p.expect(tokEOF, "the end")
	items := []expr{x}
	if l, ok := x.(*listExpr); ok {
		items = l.items
	}
	in := &interp{opt: Options{}.withDefaults(), out: &strings.Builder{}, line: 1}
	for _, item := range items {
		c, ok := item.(*callExpr)
		if !ok || len(c.args.pos) > 0 || c.args.star != nil || c.args.dict != nil {
			syntaxError(1, "expected calls with named arguments")
		}
		call := PythonCall{Name: dottedName(c.fn), Arguments: NewMap()}
		for i, name := range c.args.names {
			call.Arguments.Set(name, in.literal(c.args.named[i]))
		}
		calls = append(calls, call)
	}
	return calls, nil
}

func dottedName(x expr) string {
	switch x := x.(type) {
	case *nameExpr:
		return x.name
	case *attrExpr:
		return dottedName(x.x) + "." + x.name
	}
	syntaxError(1, "expected the name of a function")
	return ""
}

// literal evaluates what consists of constants only.
func (in *interp) literal(x expr) any {
	defer in.enter()()
	switch x := x.(type) {
	case *constExpr:
		return x.value
	case *nameExpr:
		if x.name == "null" { // as JSON has it: models mix the two
			return nil
		}
	case *unaryExpr:
		if _, number := x.x.(*constExpr); number {
			return in.eval(x, nil)
		}
	case *listExpr:
		return List(in.literals(x.items))
	case *tupleExpr:
		return Tuple(in.literals(x.items))
	case *dictExpr:
		m := &Map{}
		for i := range x.keys {
			in.store(m, in.literal(x.keys[i]), in.literal(x.values[i]))
		}
		return m
	}
	syntaxError(1, "expected a literal")
	return nil
}

func (in *interp) literals(items []expr) []any {
	values := make([]any, len(items))
	for i, x := range items {
		values[i] = in.literal(x)
	}
	return values
}
