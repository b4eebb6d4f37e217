package ptx

import (
	"strconv"
	"strings"
)

// class is the file that a register lies in.
type class uint8

const (
	none class = iota
	c32        // .b16 and .b32 and their kin
	c64
	pred
)

// reg is a register: its place in the file of its class and its number among all.
type reg struct {
	class class
	bytes uint8 // 2, 4, 8; 0 for predicates
	index int32
	id    int32
}

// registers are those of a kernel, made as they are met.
type registers struct {
	names         []map[string]reg // scopes, the innermost last
	prefixes      []prefix
	n32, n64, np  int32
	n             int32
	special       []special
	specialByName map[string]reg
}

// prefix is what a declaration such as ".reg .b32 %r<12>" says.
type prefix struct {
	name string
	typ  string
	n    int
}

// special is a register that holds something when a thread starts.
type special struct {
	name string
	reg  reg
}

// declare reads what follows .reg.
func (r *registers) declare(s string, line int) {
	typ, rest, ok := strings.Cut(s, " ")
	if i := strings.IndexAny(s, " \t"); i > 0 {
		typ, rest, ok = s[:i], s[i:], true
	}
	if !ok {
		fail("line %d: .reg %s is not known", line, s)
	}
	typ = strings.TrimPrefix(typ, ".")
	for _, n := range split(strings.TrimSpace(rest)) {
		if i := strings.IndexByte(n, '<'); i > 0 {
			c, err := strconv.Atoi(strings.Trim(n[i:], "<>"))
			if err != nil {
				fail("line %d: .reg %s is not known", line, s)
			}
			r.prefixes = append(r.prefixes, prefix{n[:i], typ, c})
			continue
		}
		r.names[len(r.names)-1][n] = r.make(typ, line)
	}
}

// make makes a register of a type.
func (r *registers) make(typ string, line int) reg {
	id := r.n
	r.n++
	count := func(n *int32) int32 { *n++; return *n - 1 }
	switch w := width(typ); {
	case typ == "pred":
		return reg{pred, 0, count(&r.np), id}
	case w == 1 || w == 2 || w == 4:
		return reg{c32, uint8(w), count(&r.n32), id}
	case w == 8:
		return reg{c64, 8, count(&r.n64), id}
	}
	fail("line %d: registers of type %s are not known", line, typ)
	return reg{}
}

// lookup finds a declared register.
func (r *registers) lookup(name string, line int) (reg, bool) {
	for i := len(r.names) - 1; i >= 0; i-- {
		if e, ok := r.names[i][name]; ok {
			return e, true
		}
	}
	for _, p := range r.prefixes {
		if num, ok := strings.CutPrefix(name, p.name); ok {
			if i, err := strconv.Atoi(num); err == nil && i < p.n {
				e := r.make(p.typ, line)
				r.names[0][name] = e
				return e, true
			}
		}
	}
	return reg{}, false
}

func (r *registers) find(name string, line int) reg {
	e, ok := r.lookup(name, line)
	if !ok {
		fail("line %d: register %s is not declared", line, name)
	}
	return e
}

// specials are the registers that threads are born with.
var specials = map[string]string{
	"%tid.x": "u32", "%tid.y": "u32", "%tid.z": "u32", "%ntid.x": "u32", "%ntid.y": "u32", "%ntid.z": "u32",
	"%ctaid.x": "u32", "%ctaid.y": "u32", "%ctaid.z": "u32",
	"%nctaid.x": "u32", "%nctaid.y": "u32", "%nctaid.z": "u32",
	"%laneid": "u32", "%warpid": "u32", "%cluster_ctarank": "u32", "%cluster_nctarank": "u32",
	"%clusterid.x": "u32", "%nclusterid.x": "u32", "%lanemask_lt": "u32", "%lanemask_le": "u32",
	"%lanemask_gt": "u32", "%lanemask_ge": "u32", "%lanemask_eq": "u32",
	"%smid": "u32", "%nsmid": "u32", "%dynamic_smem_size": "u32",
}

// kind is what an operand is.
type kind uint8

const (
	kReg kind = iota
	kImm
	kVec
	kMem
	kName // a label, or _ for nothing
)

// operand is an argument of an instruction. A kMem has its base in list[0], the
// displacement in val, and the coordinates of a tensor in list[1]; a kReg may
// carry a second destination, the predicate behind the bar, in list[0].
type operand struct {
	kind  kind
	reg   reg
	not   bool
	val   uint64
	space space // of a kImm that is a variable
	name  string
	list  []operand
}

// operand reads one argument.
func (k *Kernel) operand(s string, line int) operand {
	if s == "" {
		fail("line %d: an empty operand", line)
	}
	switch {
	case s[0] == '{':
		o := operand{kind: kVec}
		for _, e := range split(s[1 : len(s)-1]) {
			o.list = append(o.list, k.operand(e, line))
		}
		return o
	case s[0] == '[':
		return k.address(s, line)
	case s[0] == '!':
		o := k.operand(strings.TrimSpace(s[1:]), line)
		o.not = true
		return o
	case strings.Contains(s, "|"):
		d, p, _ := strings.Cut(s, "|")
		o := k.operand(strings.TrimSpace(d), line)
		o.list = []operand{k.operand(strings.TrimSpace(p), line)}
		return o
	case s == "_":
		return operand{kind: kName, name: s}
	case s == "WARP_SZ":
		return operand{kind: kImm, val: 32}
	}
	if r, ok := k.regs.lookup(s, line); ok {
		return operand{kind: kReg, reg: r}
	}
	if typ, ok := specials[s]; ok {
		r, ok := k.regs.specialByName[s]
		if !ok {
			r = k.regs.make(typ, line)
			if k.regs.specialByName == nil {
				k.regs.specialByName = map[string]reg{}
			}
			k.regs.specialByName[s] = r
			k.regs.special = append(k.regs.special, special{s, r})
		}
		return operand{kind: kReg, reg: r}
	}
	if v, ok := number(s); ok {
		return operand{kind: kImm, val: v}
	}
	if s[0] == '%' {
		fail("line %d: register %s is not known", line, s)
	}
	name, plus, _ := strings.Cut(s, "+")
	if v, ok := k.vars[strings.TrimSpace(name)]; ok {
		o := operand{kind: kImm, val: v.at, space: v.space, name: name}
		if plus != "" {
			n, ok := number(strings.TrimSpace(plus))
			if !ok {
				fail("line %d: the operand %s is not known", line, s)
			}
			o.val += n
		}
		return o
	}
	return operand{kind: kName, name: s}
}

// address reads an operand in brackets.
func (k *Kernel) address(s string, line int) operand {
	o := operand{kind: kMem}
	parts := split(s[1 : len(s)-1])
	base := parts[0]
	if i := strings.LastIndexAny(base, "+"); i > 0 {
		v, ok := number(strings.TrimSpace(base[i+1:]))
		if !ok {
			fail("line %d: the address %s is not known", line, s)
		}
		o.val, base = v, strings.TrimSpace(base[:i])
	}
	o.list = append(o.list, k.operand(base, line))
	if b := o.list[0]; b.kind == kName {
		fail("line %d: %s is not known", line, b.name)
	}
	for _, p := range parts[1:] {
		o.list = append(o.list, k.operand(p, line))
	}
	return o
}

// number reads an integer or the bits of a float.
func number(s string) (uint64, bool) {
	if h, ok := strings.CutPrefix(s, "0f"); ok && len(h) == 8 {
		v, err := strconv.ParseUint(h, 16, 32)
		return v, err == nil
	}
	if h, ok := strings.CutPrefix(s, "0d"); ok && len(h) == 16 {
		v, err := strconv.ParseUint(h, 16, 64)
		return v, err == nil
	}
	s = strings.TrimSuffix(s, "U")
	if v, err := strconv.ParseInt(s, 0, 64); err == nil {
		return uint64(v), true
	}
	v, err := strconv.ParseUint(s, 0, 64)
	return v, err == nil
}
