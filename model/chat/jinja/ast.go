package jinja

// expr is a node that has a value.
type expr interface {
	eval(st *state) Value
}

// stmt is a node that writes output or changes variables.
type stmt interface {
	exec(st *state) flow
}

// flow is how a statement ended.
type flow uint8

const (
	flowNext flow = iota
	flowBreak
	flowContinue
)

// Expressions. line is where the node began, from 1.
type (
	constExpr struct{ val Value }

	nameExpr struct {
		name string
		line int
	}

	// listExpr is a list or tuple display.
	listExpr struct {
		items []expr
		tuple bool
	}

	dictExpr struct {
		keys, vals []expr
		line       int
	}

	attrExpr struct {
		obj  expr
		name string
		line int
	}

	itemExpr struct {
		obj, key expr
		line     int
	}

	// sliceExpr is obj[lo:hi:step]; an absent part is nil.
	sliceExpr struct {
		obj          expr
		lo, hi, step expr
		line         int
	}

	callExpr struct {
		fn   expr
		args callArgs
		line int
	}

	// filterExpr pipes in through a filter; in is nil inside a filter block, whose body it takes.
	filterExpr struct {
		in   expr
		name string
		fn   filterFunc // nil: unknown, an error when it is reached
		args callArgs
		line int
	}

	testExpr struct {
		in   expr
		name string
		fn   testFunc // nil: unknown, an error when it is reached
		args callArgs
		line int
	}

	unaryExpr struct {
		op   string // "not", "-" or "+"
		x    expr
		line int
	}

	// binaryExpr is arithmetic.
	binaryExpr struct {
		op   string
		l, r expr
		line int
	}

	// logicExpr is and, or.
	logicExpr struct {
		or   bool
		l, r expr
	}

	// compareExpr is a chain a < b < c, each operand evaluated once.
	compareExpr struct {
		first expr
		ops   []string
		rest  []expr
		line  int
	}

	concatExpr struct {
		parts []expr
		line  int
	}

	// condExpr is "then if test else other"; other may be nil.
	condExpr struct {
		test, then, other expr
		line              int
	}
)

// callArgs are the arguments of a call as written.
type callArgs struct {
	pos      []expr
	names    []string // of named, in order
	named    []expr
	star     expr // *args
	starstar expr // **kwargs
}

// Statements.
type (
	dataStmt struct{ text Text }

	printStmt struct {
		x    expr
		line int
	}

	ifStmt struct {
		tests  []expr
		bodies [][]stmt
		other  []stmt
	}

	forStmt struct {
		target    target
		iter      expr
		test      expr // nil: none
		body      []stmt
		other     []stmt
		recursive bool
		line      int
	}

	setStmt struct {
		target target
		x      expr
		line   int
	}

	// setBlockStmt is set … endset; filter is nil or a chain ending in a filterExpr without input.
	setBlockStmt struct {
		target target
		filter expr
		body   []stmt
		line   int
	}

	filterBlockStmt struct {
		filter expr
		body   []stmt
		line   int
	}

	withStmt struct {
		targets []target
		vals    []expr
		body    []stmt
		line    int
	}

	macroStmt struct{ def *macroDef }

	callBlockStmt struct {
		def  *macroDef
		call *callExpr
		line int
	}

	// scopeStmt runs its body with variables of its own: the generation tag.
	scopeStmt struct{ body []stmt }

	flowStmt struct{ f flow }
)

// target is what set and for assign to: a name, a namespace attribute, or a tuple of targets.
type target struct {
	name  string
	attr  string   // set: the attribute of namespace name
	items []target // tuple when not nil
	line  int
}

// macroDef is a macro as written.
type macroDef struct {
	name     string // "" for a call block
	params   []string
	defaults []expr // of the last len(defaults) params
	body     []stmt
	line     int
	// which of the special names the body reads without assigning them
	usesCaller, usesKwargs, usesVarargs bool
}
