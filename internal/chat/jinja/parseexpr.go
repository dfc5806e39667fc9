package jinja

import (
	"slices"
	"strings"
)

var literals = []string{"true", "false", "True", "False", "none", "None"}

// tupleRules say how far an expression without brackets around it goes.
type tupleRules struct {
	conditional bool     // a if b else c is part of it
	empty       bool     // () is allowed
	ends        []string // names that end it
}

// tupleEnd reports whether nothing more of a tuple can follow.
func (p *parser) tupleEnd(ends []string) bool {
	t := p.cur()
	return t.kind == tokVarEnd || t.kind == tokBlockEnd || p.isOp(")") || t.kind == tokName && slices.Contains(ends, t.text)
}

// tuple reads an expression, or several with commas between them, which make a tuple.
func (p *parser) tuple(r tupleRules) expr {
	var items []expr
	tuple := false
	for !p.tupleEnd(r.ends) {
		if r.conditional {
			items = append(items, p.expression())
		} else {
			items = append(items, p.or())
		}
		if !p.skipOp(",") {
			break
		}
		tuple = true
	}
	switch {
	case tuple || len(items) == 0 && r.empty:
		return &tupleExpr{items}
	case len(items) == 0:
		syntaxError(p.cur().line, "expected an expression, found %s", p.cur().describe())
	}
	return items[0]
}

func (p *parser) expression() expr {
	defer p.enter()()
	known := len(p.unknown)
	x := p.or()
	for p.skipName("if") {
		c := &condExpr{yes: x, test: p.or()}
		if p.skipName("else") {
			c.no = p.expression()
		}
		p.unknown = p.unknown[:known] // all of it stands in a condition
		x = c
	}
	return x
}

func (p *parser) or() expr {
	x := p.and()
	for p.skipName("or") {
		x = &orExpr{x, p.and()}
	}
	return x
}

func (p *parser) and() expr {
	x := p.not()
	for p.skipName("and") {
		x = &andExpr{x, p.not()}
	}
	return x
}

func (p *parser) not() expr {
	if p.skipName("not") {
		defer p.enter()()
		return &notExpr{p.not()}
	}
	return p.compare()
}

var comparisons = []string{"==", "!=", "<", "<=", ">", ">="}

func (p *parser) compare() expr {
	c := &compareExpr{x: p.sum()}
	for {
		switch {
		case p.cur().kind == tokOp && slices.Contains(comparisons, p.cur().text):
			c.ops = append(c.ops, p.next().text)
		case p.skipName("in"):
			c.ops = append(c.ops, "in")
		case p.isName("not") && p.look().kind == tokName && p.look().text == "in":
			p.at += 2
			c.ops = append(c.ops, "not in")
		case c.ops == nil:
			return c.x
		default:
			return c
		}
		c.rest = append(c.rest, p.sum())
	}
}

func (p *parser) sum() expr {
	x := p.concat()
	for p.isOp("+") || p.isOp("-") {
		x = &binaryExpr{p.next().text, x, p.concat()}
	}
	return x
}

func (p *parser) concat() expr {
	items := []expr{p.product()}
	for p.skipOp("~") {
		items = append(items, p.product())
	}
	if len(items) == 1 {
		return items[0]
	}
	return &concatExpr{items}
}

func (p *parser) product() expr {
	x := p.power()
	for p.isOp("*") || p.isOp("/") || p.isOp("//") || p.isOp("%") {
		x = &binaryExpr{p.next().text, x, p.power()}
	}
	return x
}

// power groups to the left, as jinja2's parser does; Python evaluates what it writes
// to the right only where a number stands behind it, so brackets keep it this way.
func (p *parser) power() expr {
	x := p.unary(true)
	for p.skipOp("**") {
		x = &binaryExpr{"**", x, p.unary(true)}
	}
	return x
}

func (p *parser) unary(filters bool) expr {
	var x expr
	if p.isOp("-") || p.isOp("+") {
		leave := p.enter()
		x = &unaryExpr{p.next().text, p.unary(false)}
		leave()
	} else {
		x = p.primary()
	}
	x = p.postfix(x)
	if filters {
		x = p.filtersAndTests(x)
	}
	return x
}

func (p *parser) primary() expr {
	t := p.next()
	switch t.kind {
	case tokName:
		switch t.text {
		case "true", "True":
			return &constExpr{true}
		case "false", "False":
			return &constExpr{false}
		case "none", "None":
			return &constExpr{nil}
		}
		p.reads(t.text)
		return &nameExpr{t.text}
	case tokString:
		parts := []string{t.text}
		for p.cur().kind == tokString { // strings side by side are one
			parts = append(parts, p.next().text)
		}
		return &constExpr{strings.Join(parts, "")}
	case tokNumber:
		return &constExpr{t.num}
	case tokOp:
		switch t.text {
		case "(":
			x := p.tuple(tupleRules{conditional: true, empty: true})
			p.expectOp(")")
			return x
		case "[":
			return p.list()
		case "{":
			return p.dict()
		}
	}
	syntaxError(t.line, "expected an expression, found %s", t.describe())
	return nil
}

func (p *parser) list() expr {
	l := &listExpr{}
	for !p.isOp("]") {
		l.items = append(l.items, p.expression())
		if !p.skipOp(",") {
			break
		}
	}
	p.expectOp("]")
	return l
}

func (p *parser) dict() expr {
	d := &dictExpr{}
	for !p.isOp("}") {
		d.keys = append(d.keys, p.expression())
		p.expectOp(":")
		d.values = append(d.values, p.expression())
		if !p.skipOp(",") {
			break
		}
	}
	p.expectOp("}")
	return d
}

func (p *parser) postfix(x expr) expr {
	for {
		line := p.cur().line
		switch {
		case p.skipOp("."):
			t := p.next()
			switch t.kind {
			case tokName:
				x = &attrExpr{x, t.text, line}
			case tokNumber:
				if _, float := t.num.(float64); float {
					syntaxError(t.line, "expected a name or an integer, found %s", t.describe())
				}
				x = &itemExpr{x, &constExpr{t.num}, line}
			default:
				syntaxError(t.line, "expected a name or an integer, found %s", t.describe())
			}
		case p.skipOp("["):
			x = p.subscript(x, line)
		case p.isOp("("):
			x = &callExpr{x, p.arguments(), line}
		default:
			return x
		}
	}
}

// subscript reads what stands behind the opening bracket of x[…].
func (p *parser) subscript(x expr, line int) expr {
	var keys []expr
	for !p.isOp("]") {
		if !p.isOp(":") {
			keys = append(keys, p.expression())
		}
		if p.isOp(":") {
			return p.slice(x, keys, line)
		}
		if !p.skipOp(",") {
			break
		}
	}
	p.expectOp("]")
	if len(keys) == 1 {
		return &itemExpr{x, keys[0], line}
	}
	return &itemExpr{x, &tupleExpr{keys}, line}
}

// slice reads x[from:to:step] from the first colon on; from is none or one expression.
func (p *parser) slice(x expr, from []expr, line int) expr {
	s := &sliceExpr{x: x, line: line}
	if len(from) == 1 {
		s.from = from[0]
	}
	p.expectOp(":")
	if !p.isOp(":") && !p.isOp("]") {
		s.to = p.expression()
	}
	if p.skipOp(":") && !p.isOp("]") {
		s.step = p.expression()
	}
	if len(from) > 1 || p.isOp(",") {
		syntaxError(line, "a slice among several subscripts")
	}
	p.expectOp("]")
	return s
}

func (p *parser) filtersAndTests(x expr) expr {
	for {
		line := p.cur().line
		switch {
		case p.skipOp("|"):
			x = p.filter(x)
		case p.skipName("is"):
			x = p.test(x, line)
		case p.isOp("("):
			x = &callExpr{x, p.arguments(), line}
		default:
			return x
		}
	}
}

// filter reads the filters behind a "|", each with its arguments.
func (p *parser) filter(x expr) expr {
	for {
		line := p.cur().line
		f := &filterExpr{x: x, name: p.dotted("a filter"), line: line}
		if p.isOp("(") {
			f.args = p.arguments()
		}
		if filters[f.name] == nil {
			p.missing("filter", f.name, line)
		}
		x = f
		if !p.skipOp("|") {
			return x
		}
	}
}

func unknown(what, name string) string { return "no " + what + " named '" + name + "'" }

func (p *parser) dotted(what string) string {
	name := p.expect(tokName, "the name of "+what).text
	for p.skipOp(".") {
		name += "." + p.expect(tokName, "a name").text
	}
	return name
}

func (p *parser) test(x expr, line int) expr {
	negated := p.skipName("not")
	t := &testExpr{x: x, name: p.dotted("a test"), line: line}
	switch next := p.cur(); {
	case p.isOp("("):
		t.args = p.arguments()
	case p.isName("is"):
		syntaxError(next.line, "tests with `is` can't be chained")
	case next.kind == tokString || next.kind == tokNumber || p.isOp("[") || p.isOp("{"),
		next.kind == tokName && !p.isName("else", "or", "and"):
		t.args.pos = []expr{p.postfix(p.primary())}
	}
	if tests[t.name] == nil {
		p.missing("test", t.name, line)
	}
	if negated {
		return &notExpr{t}
	}
	return t
}

func (p *parser) arguments() arguments {
	var a arguments
	open := p.expectOp("(")
	ensure := func(ok bool) {
		if !ok {
			syntaxError(open.line, "the arguments of a call are out of order: expected positional, named, *, then **")
		}
	}
	for !p.isOp(")") {
		next := p.look()
		switch {
		case p.skipOp("*"):
			ensure(a.star == nil && a.dict == nil)
			a.star = p.expression()
		case p.skipOp("**"):
			ensure(a.dict == nil)
			a.dict = p.expression()
		case p.cur().kind == tokName && next.kind == tokOp && next.text == "=":
			ensure(a.dict == nil)
			name := p.next()
			p.few(len(a.names))
			if slices.Contains(a.names, name.text) {
				syntaxError(name.line, "the argument %q is given twice", name.text)
			}
			p.at++
			a.names, a.named = append(a.names, name.text), append(a.named, p.expression())
		default:
			ensure(a.star == nil && a.dict == nil && a.names == nil)
			a.pos = append(a.pos, p.expression())
		}
		if !p.skipOp(",") {
			break
		}
	}
	p.expectOp(")")
	return a
}
