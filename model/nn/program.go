package nn

import "fmt"

// A Program is what a part of a network computes: a short list of operations
// on registers of rows, one row for each token. A network writes it once, when
// it is built; executors run it on batches. It holds no memory and knows no device.
//
// Each operation makes a new [Value]. Whether that takes the memory of an
// operand that nothing reads any more is the executor's decision.
type Program struct {
	Ops []Op
	In  Value // what the program is given; NoValue for an embedding
	Out Value // what it returns

	widths []int
	wanted []bool
}

// Value is a register of a program: a row of values for each token, or for each
// wanted token.
type Value int32

// NoValue is the operand that an operation does not have.
const NoValue Value = -1

// Kind is what an operation does.
type Kind uint8

const (
	// Lookup is the table's row for each token's number, added to Y if there is one.
	Lookup Kind = iota
	// Scale is X times Factor.
	Scale
	// Activate is the function Act of X: of LeakyReLU and SELU, which no product does.
	Activate
	// Normalize normalises each row of X; with Heads > 0 each of its first Heads heads.
	Normalize
	// Rotate turns the first Heads heads of each row of X by its position.
	Rotate
	// Multiply is the linear layer of X, with an activation.
	Multiply
	// MultiplyAdd is Y plus the linear layer of X: a branch that joins the residual stream.
	MultiplyAdd
	// MultiplyGated is the first half of a gated feed-forward layer of X.
	MultiplyGated
	// Sum is Y plus X, a branch that joins the residual stream.
	Sum
	// Route is Y plus what the experts that each row of X takes make of it.
	Route
	// Attend is the attention of the queries X to the keys and values Y.
	Attend
	// Neighbours is of each row of X, which is what the program is given, the values
	// of the tokens around it: the first of each, then the second of each. Beyond the
	// sequence they are 0.
	Neighbours
	// Wanted is the rows of X whose output is wanted: all, or in the last layer
	// those that are scored.
	Wanted
)

// Op is one operation: Out from X and Y.
type Op struct {
	Kind      Kind
	Out, X, Y Value

	Table     *Embedding
	Of        Numbers // which numbers Table is read by
	Norm      Norm
	Rope      *Rope
	Linear    *Linear
	Gated     *Gated
	Mixture   *Mixture
	Attention *Attention
	Act       Activation // of Multiply and Activate
	Factor    float32
	Heads     int
	Kernel    int // of Neighbours: how many tokens, an odd number
	// Branch counts the branches that joined the residual stream before this one.
	Branch int
}

// Numbers are what a token is looked up by.
type Numbers uint8

const (
	Tokens Numbers = iota
	Types
	Positions
)

// NewProgram begins a program that is given rows of so many values, or with 0
// nothing but the tokens.
func NewProgram(width int) *Program {
	p := &Program{In: NoValue, Out: NoValue}
	if width > 0 {
		p.In = p.value(width, false)
	}
	return p
}

func (p *Program) value(width int, wanted bool) Value {
	p.widths, p.wanted = append(p.widths, width), append(p.wanted, wanted)
	return Value(len(p.widths) - 1)
}

func (p *Program) add(op Op, width int) Value {
	wanted := op.X != NoValue && p.wanted[op.X]
	if op.Y != NoValue && op.Kind != Attend && p.wanted[op.Y] != wanted {
		panic(fmt.Sprintf("nn: operation %d joins all rows with the wanted ones", len(p.Ops)))
	}
	op.Out = p.value(width, wanted || op.Kind == Wanted)
	p.Ops = append(p.Ops, op)
	return op.Out
}

// Width returns how many values a row has.
func (p *Program) Width(v Value) int { return p.widths[v] }

// OfWanted says whether a value has rows for the wanted tokens alone.
func (p *Program) OfWanted(v Value) bool { return p.wanted[v] }

// Values returns the number of values.
func (p *Program) Values() int { return len(p.widths) }

// Attends returns the index of the operation that is attention, -1 without.
func (p *Program) Attends() int {
	at := -1
	for i := range p.Ops {
		if p.Ops[i].Kind != Attend {
			continue
		}
		if at >= 0 {
			panic("nn: a block with two attentions")
		}
		at = i
	}
	return at
}

// Lookup reads a table's rows and adds them to y, unless that is NoValue.
func (p *Program) Lookup(t *Embedding, of Numbers, y Value) Value {
	op := Op{Kind: Lookup, X: NoValue, Y: y, Table: t, Of: of}
	op.Out = p.value(t.C, false)
	p.Ops = append(p.Ops, op)
	return op.Out
}

// Scale multiplies every value.
func (p *Program) Scale(factor float32, x Value) Value {
	return p.add(Op{Kind: Scale, X: x, Y: NoValue, Factor: factor}, p.widths[x])
}

// Norm normalises rows.
func (p *Program) Norm(n Norm, x Value) Value {
	return p.add(Op{Kind: Normalize, X: x, Y: NoValue, Norm: n}, p.widths[x])
}

// HeadNorm normalises the first heads of each row; a nil layer leaves them.
func (p *Program) HeadNorm(n *RMSNorm, heads int, x Value) Value {
	if n == nil {
		return x
	}
	return p.add(Op{Kind: Normalize, X: x, Y: NoValue, Norm: n, Heads: heads}, p.widths[x])
}

// Rope rotates the first heads of each row by the token's position.
func (p *Program) Rope(r *Rope, a *Attention, heads int, x Value) Value {
	return p.add(Op{Kind: Rotate, X: x, Y: NoValue, Rope: r, Attention: a, Heads: heads}, p.widths[x])
}

// Linear multiplies by a layer.
func (p *Program) Linear(l *Linear, x Value) Value { return p.Activated(l, x, None) }

// Activated multiplies by a layer and applies an activation.
func (p *Program) Activated(l *Linear, x Value, act Activation) Value {
	if act == LeakyReLU || act == SELU {
		y := p.Linear(l, x)
		return p.add(Op{Kind: Activate, X: y, Y: NoValue, Act: act}, p.widths[y])
	}
	return p.add(Op{Kind: Multiply, X: x, Y: NoValue, Linear: l, Act: act}, l.Out())
}

// AddLinear is y plus a layer of x.
func (p *Program) AddLinear(l *Linear, y, x Value) Value {
	return p.add(Op{Kind: MultiplyAdd, X: x, Y: y, Linear: l, Branch: p.branches()}, l.Out())
}

// Add is y plus x.
func (p *Program) Add(y, x Value) Value {
	return p.add(Op{Kind: Sum, X: x, Y: y, Branch: p.branches()}, p.widths[y])
}

// Route is y plus what the experts of a mixture make of x.
func (p *Program) Route(m *Mixture, y, x Value) Value {
	return p.add(Op{Kind: Route, X: x, Y: y, Mixture: m, Branch: p.branches()}, p.widths[y])
}

func (p *Program) branches() int {
	n := 0
	for i := range p.Ops {
		if k := p.Ops[i].Kind; k == MultiplyAdd || k == Sum || k == Route {
			n++
		}
	}
	return n
}

// Gated is the first half of a gated feed-forward layer.
func (p *Program) Gated(g *Gated, x Value) Value {
	return p.add(Op{Kind: MultiplyGated, X: x, Y: NoValue, Gated: g}, g.F)
}

// Attend is the attention of queries, of the wanted rows, to keys over values, of all.
func (p *Program) Attend(a *Attention, q, kv Value) Value {
	return p.add(Op{Kind: Attend, X: q, Y: kv, Attention: a}, a.H*a.D)
}

// Neighbours gathers the values of kernel tokens around each.
func (p *Program) Neighbours(kernel int, x Value) Value {
	if x != p.In || kernel%2 == 0 {
		panic(fmt.Sprintf("nn: neighbours of value %d, %d tokens: want the program's input and an odd number", x, kernel))
	}
	return p.add(Op{Kind: Neighbours, X: x, Y: NoValue, Kernel: kernel}, kernel*p.widths[x])
}

// Wanted leaves the rows of x whose output is wanted.
func (p *Program) Wanted(x Value) Value {
	return p.add(Op{Kind: Wanted, X: x, Y: NoValue}, p.widths[x])
}
