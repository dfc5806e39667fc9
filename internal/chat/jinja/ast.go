package jinja

// An expr is an expression of a template: eval gives its value in a scope.
type expr interface {
	eval(in *interp, s *scope) any
}

// A stmt is a statement: exec writes its output and says how control goes on.
type stmt interface {
	exec(in *interp, s *scope) flow
}

// flow says how a loop goes on after a statement.
type flow uint8

const (
	flowNext flow = iota
	flowBreak
	flowContinue
)

type (
	constExpr struct{ value any }
	nameExpr  struct{ name string }
	listExpr  struct{ items []expr }
	tupleExpr struct{ items []expr }
	dictExpr  struct{ keys, values []expr }
	unaryExpr struct {
		op string // "+", "-"
		x  expr
	}
	notExpr    struct{ x expr }
	binaryExpr struct {
		op   string
		x, y expr
	}
	// andExpr and orExpr give one of their operands.
	andExpr    struct{ x, y expr }
	orExpr     struct{ x, y expr }
	concatExpr struct{ items []expr }
	condExpr   struct{ test, yes, no expr } // no may be nil
	// compareExpr is a chain such as a < b <= c.
	compareExpr struct {
		x    expr
		ops  []string
		rest []expr
	}
	attrExpr struct {
		x    expr
		name string
		line int
	}
	itemExpr struct {
		x, key expr
		line   int
	}
	// sliceExpr is x[from:to:step]; each bound may be nil.
	sliceExpr struct {
		x, from, to, step expr
		line              int
	}
	callExpr struct {
		fn   expr
		args arguments
		line int
	}
	filterExpr struct {
		x    expr // nil in a filter block: the block's text
		name string
		args arguments
		line int
	}
	testExpr struct {
		x    expr
		name string
		args arguments
		line int
	}
)

// arguments of a call as they are written: f(a, k=v, *star, **star2).
type arguments struct {
	pos        []expr
	names      []string
	named      []expr
	star, dict expr
}

type (
	textStmt   struct{ text string }
	outputStmt struct {
		x    expr
		line int
	}
	ifStmt struct {
		tests  []expr
		bodies [][]stmt
		other  []stmt
		line   int
	}
	forStmt struct {
		target    target
		iter      expr
		test      expr // nil without
		body      []stmt
		other     []stmt
		recursive bool
		line      int
	}
	setStmt struct {
		target target
		value  expr
		line   int
	}
	setBlockStmt struct {
		target target
		filter expr // nil without
		body   []stmt
		line   int
	}
	withStmt struct {
		targets []target
		values  []expr
		body    []stmt
		line    int
	}
	macroStmt struct{ def *macroDef }
	callStmt  struct {
		call   *callExpr
		caller *macroDef
		line   int
	}
	filterStmt struct {
		filter expr
		body   []stmt
		line   int
	}
	scopeStmt struct{ body []stmt }
	flowStmt  struct{ flow flow }
)

// macroDef is a macro, or the body of a call block.
type macroDef struct {
	name     string
	params   []string
	defaults []expr // of the last params
	body     []stmt
	// which of the implicit names the body reads
	caller, varargs, kwargs bool
	readsCaller             bool // the implicit one or a parameter
	line                    int
}

// target is where set, for and with store: a name, a namespace's attribute, or
// several of these.
type target struct {
	name, attr string
	items      []target
	tuple      bool
	line       int
}
