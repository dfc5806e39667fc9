package jinja

import "slices"

// A Template is a parsed template. It is immutable, and safe for concurrent use.
type Template struct {
	source string
	body   []stmt
}

// Source gives the text that the template was parsed from.
func (t *Template) Source() string { return t.source }

// maxNesting bounds how deep statements and expressions may stand inside each other.
const maxNesting = 200

const maxNames = 1000

// MaxSource is the size in bytes of the longest template that Parse takes.
const MaxSource = 1 << 20

// Parse reads a template. The error is an *Error.
func Parse(source string) (t *Template, err error) {
	defer catch(&err)
	if len(source) > MaxSource {
		syntaxError(1, "the template has %d bytes, the limit is %d", len(source), MaxSource)
	}
	p := &parser{toks: lex(source)}
	body := p.statements(nil)
	if len(p.unknown) > 0 {
		return nil, p.unknown[0]
	}
	return &Template{source, body}, nil
}

// A parser reads the tokens of a template by recursive descent.
type parser struct {
	toks  []token
	at    int
	depth int
	loops int         // for loops around the position, within the macro
	soft  bool        // directly in a condition: an unknown filter is an error only when it runs
	defs  []*macroDef // the macros around the position

	// unknown are filters and tests that don't exist and don't stand in a condition.
	unknown []*Error
}

// missing notes that a filter or test doesn't exist.
func (p *parser) missing(what, name string, line int) {
	if !p.soft {
		p.unknown = append(p.unknown, &Error{Line: line, Kind: "TemplateAssertionError", Text: unknown(what, name)})
	}
}

func (p *parser) cur() token { return p.toks[p.at] }

func (p *parser) next() token {
	t := p.toks[p.at]
	if t.kind != tokEOF {
		p.at++
	}
	return t
}

func (p *parser) look() token { return p.toks[min(p.at+1, len(p.toks)-1)] }

func (p *parser) isOp(op string) bool { return p.cur().kind == tokOp && p.cur().text == op }

func (p *parser) isName(names ...string) bool {
	return p.cur().kind == tokName && slices.Contains(names, p.cur().text)
}

// skipOp moves behind an operator if it stands here.
func (p *parser) skipOp(op string) bool {
	ok := p.isOp(op)
	if ok {
		p.at++
	}
	return ok
}

func (p *parser) skipName(name string) bool {
	ok := p.isName(name)
	if ok {
		p.at++
	}
	return ok
}

func (p *parser) expect(kind tokenKind, what string) token {
	if t := p.cur(); t.kind != kind {
		syntaxError(t.line, "expected %s, found %s", what, t.describe())
	}
	return p.next()
}

func (p *parser) expectOp(op string) token {
	if !p.isOp(op) {
		syntaxError(p.cur().line, "expected %q, found %s", op, p.cur().describe())
	}
	return p.next()
}

func (p *parser) expectName(name string) token {
	if !p.isName(name) {
		syntaxError(p.cur().line, "expected %q, found %s", name, p.cur().describe())
	}
	return p.next()
}

// enter counts a level of nesting; the function that it gives leaves it.
func (p *parser) enter() func() {
	if p.depth++; p.depth > maxNesting {
		panic(&Error{Line: p.cur().line, Kind: "LimitError", Text: "the template nests deeper than 200 levels"})
	}
	return func() { p.depth-- }
}

// statements reads up to a tag of the given names, which stays current, or up to
// the end of the template without names.
func (p *parser) statements(ends []string) []stmt {
	defer p.enter()()
	var body []stmt
	for {
		t := p.next()
		switch t.kind {
		case tokData:
			body = append(body, &textStmt{t.text})
		case tokVarBegin:
			body = append(body, &outputStmt{p.tuple(tupleRules{conditional: true}), t.line})
			p.expect(tokVarEnd, "}}")
		case tokBlockBegin:
			if p.isName(ends...) {
				return body
			}
			body = append(body, p.statement()...)
			p.expect(tokBlockEnd, "%}")
		case tokEOF:
			if ends != nil {
				syntaxError(t.line, "the template ends where {%% %s %%} is expected", ends[len(ends)-1])
			}
			return body
		default:
			syntaxError(t.line, "unexpected %s", t.describe())
		}
	}
}

// block reads the statements between the end of a tag and one of the closing tags,
// whose name is consumed and returned. The body is no longer directly in a condition.
func (p *parser) block(ends ...string) ([]stmt, string) {
	p.skipOp(":")
	p.expect(tokBlockEnd, "%}")
	body := p.statements(ends)
	return body, p.next().text
}

// scoped is block with soft off: jinja2 looks filters up when it compiles a body of its own.
func (p *parser) scoped(ends ...string) ([]stmt, string) {
	soft := p.soft
	p.soft = false
	defer func() { p.soft = soft }()
	return p.block(ends...)
}

var leftOut = []string{"include", "import", "from", "extends", "autoescape"}

func (p *parser) statement() []stmt {
	t := p.expect(tokName, "the name of a tag")
	switch t.text {
	case "for":
		return one(p.forLoop(t.line))
	case "if":
		return one(p.conditional(t.line))
	case "set":
		return one(p.set(t.line))
	case "with":
		return one(p.with(t.line))
	case "macro":
		return one(p.macro(t.line))
	case "call":
		return one(p.callBlock(t.line))
	case "filter":
		f := p.filter(nil)
		body, _ := p.scoped("endfilter")
		return one(&filterStmt{f, body, t.line})
	case "generation":
		return one(p.generation())
	case "block":
		return one(p.namedBlock())
	case "print":
		return p.print(t.line)
	case "break", "continue":
		if p.loops == 0 {
			syntaxError(t.line, "%s outside a loop", t.text)
		}
		if t.text == "break" {
			return one(&flowStmt{flowBreak})
		}
		return one(&flowStmt{flowContinue})
	}
	if slices.Contains(leftOut, t.text) {
		syntaxError(t.line, "the tag %q is not supported: a chat template is one text without escaping", t.text)
	}
	syntaxError(t.line, "unknown tag %q", t.text)
	return nil
}

func one(s stmt) []stmt { return []stmt{s} }

func (p *parser) forLoop(line int) stmt {
	f := &forStmt{line: line}
	f.target = p.target(false, "in")
	p.expectName("in")
	f.iter = p.tuple(tupleRules{ends: []string{"recursive"}})
	soft := p.soft
	p.soft = false
	defer func() { p.soft = soft }()
	if p.skipName("if") {
		f.test = p.expression()
	}
	f.recursive = p.skipName("recursive")
	p.loops++
	body, endTag := p.block("endfor", "else")
	p.loops--
	f.body = body
	if endTag == "else" {
		f.other, _ = p.block("endfor")
	}
	return f
}

func (p *parser) conditional(line int) stmt {
	soft := p.soft
	p.soft = true
	defer func() { p.soft = soft }()
	f := &ifStmt{line: line}
	for {
		f.tests = append(f.tests, p.tuple(tupleRules{}))
		body, endTag := p.block("elif", "else", "endif")
		f.bodies = append(f.bodies, body)
		switch endTag {
		case "elif":
			continue
		case "else":
			f.other, _ = p.block("endif")
		}
		return f
	}
}

func (p *parser) set(line int) stmt {
	to := p.target(true)
	if p.skipOp("=") {
		return &setStmt{to, p.tuple(tupleRules{conditional: true}), line}
	}
	var filter expr
	if p.skipOp("|") {
		filter = p.filter(nil)
	}
	body, _ := p.scoped("endset")
	return &setBlockStmt{to, filter, body, line}
}

func (p *parser) with(line int) stmt {
	w := &withStmt{line: line}
	for p.cur().kind != tokBlockEnd {
		if w.targets != nil {
			p.expectOp(",")
		}
		w.targets = append(w.targets, p.target(false))
		p.expectOp("=")
		w.values = append(w.values, p.expression())
	}
	w.body, _ = p.scoped("endwith")
	return w
}

func (p *parser) macro(line int) stmt {
	m := &macroDef{line: line, name: p.name()}
	p.signature(m)
	p.macroBody(m, "endmacro")
	return &macroStmt{m}
}

// macroBody reads a body that runs as a function: loops around it are not its own.
func (p *parser) macroBody(m *macroDef, endTag string) {
	loops := p.loops
	p.loops = 0
	p.defs = append(p.defs, m)
	m.body, _ = p.scoped(endTag)
	p.defs = p.defs[:len(p.defs)-1]
	p.loops = loops
}

func (p *parser) signature(m *macroDef) {
	p.defs = append(p.defs, m) // defaults may read caller, varargs and kwargs
	defer func() { p.defs = p.defs[:len(p.defs)-1] }()
	p.expectOp("(")
	for !p.isOp(")") {
		if m.params != nil {
			p.expectOp(",")
		}
		line, name := p.cur().line, p.name()
		p.few(len(m.params))
		if slices.Contains(m.params, name) {
			syntaxError(line, "the parameter %q is given twice", name)
		}
		m.params = append(m.params, name)
		if name == "caller" && !p.isOp("=") {
			panic(&Error{Line: line, Kind: "TemplateAssertionError", Text: "the parameter caller must have a default"})
		}
		if p.skipOp("=") {
			m.defaults = append(m.defaults, p.expression())
		} else if m.defaults != nil {
			syntaxError(line, "a parameter without default follows one with a default")
		}
	}
	p.expectOp(")")
}

func (p *parser) callBlock(line int) stmt {
	m := &macroDef{line: line, name: "caller"}
	if p.isOp("(") {
		p.signature(m)
	}
	call, ok := p.expression().(*callExpr)
	if !ok {
		syntaxError(line, "expected a call behind the tag call")
	}
	p.macroBody(m, "endcall")
	return &callStmt{call, m, line}
}

// generation marks what an assistant wrote, for training: here it is its body, which
// jinja2 runs as a function.
func (p *parser) generation() stmt {
	m := &macroDef{}
	p.macroBody(m, "endgeneration")
	return &scopeStmt{m.body}
}

// namedBlock reads a block that, as nothing extends the template, stands for its body.
func (p *parser) namedBlock() stmt {
	name := p.expect(tokName, "the name of the block")
	p.skipName("scoped")
	if p.skipName("required") {
		syntaxError(name.line, "the block %q is required from a template that extends this one; none does", name.text)
	}
	m := &macroDef{}
	p.macroBody(m, "endblock")
	p.skipName(name.text)
	return &scopeStmt{m.body}
}

func (p *parser) print(line int) []stmt {
	var list []stmt
	for p.cur().kind != tokBlockEnd {
		if list != nil {
			p.expectOp(",")
		}
		list = append(list, &outputStmt{p.expression(), line})
	}
	return list
}

// few fails where a call or a macro has more names than anybody writes: looking for
// doubles among them takes the square of their number.
func (p *parser) few(n int) {
	if n >= maxNames {
		panic(&Error{Line: p.cur().line, Kind: "LimitError", Text: "a macro or call has more than 1000 names"})
	}
}

// name reads a name that may be assigned to.
func (p *parser) name() string {
	t := p.expect(tokName, "a name")
	if slices.Contains(literals, t.text) {
		syntaxError(t.line, "can't assign to %q", t.text)
	}
	return t.text
}

// target reads what a value is stored in.
func (p *parser) target(namespaces bool, ends ...string) target {
	first := p.cur().line
	var items []target
	for {
		if p.tupleEnd(ends) && len(items) > 0 {
			break
		}
		items = append(items, p.simpleTarget(namespaces))
		if !p.skipOp(",") {
			if len(items) == 1 {
				return items[0]
			}
			break
		}
	}
	return target{items: items, tuple: true, line: first}
}

func (p *parser) simpleTarget(namespaces bool) target {
	defer p.enter()()
	line := p.cur().line
	if p.skipOp("(") {
		t := p.target(namespaces)
		p.expectOp(")")
		return t
	}
	t := target{name: p.name(), line: line}
	if namespaces && p.skipOp(".") {
		t.attr = p.expect(tokName, "an attribute").text
		p.reads(t.name)
	}
	return t
}

// reads notes that the macros around here use a name.
func (p *parser) reads(name string) {
	if name != "caller" && name != "varargs" && name != "kwargs" {
		return
	}
	for _, m := range p.defs {
		m.readsCaller = m.readsCaller || name == "caller"
		if !slices.Contains(m.params, name) {
			m.caller = m.caller || name == "caller"
			m.varargs = m.varargs || name == "varargs"
			m.kwargs = m.kwargs || name == "kwargs"
		}
	}
}
