package ptx

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Module is PTX text, parsed and decoded. Machines may share it.
type Module struct {
	Target  string // as "sm_90a"
	kernels map[string]*Kernel
	vars    map[string]variable
	data    []byte // of .global and .const variables, one behind the other
}

// Kernel returns the kernel of a name, or nil.
func (m *Module) Kernel(name string) *Kernel { return m.kernels[name] }

// Names returns the names of all kernels, in no order.
func (m *Module) Names() []string {
	var out []string
	for n := range m.kernels {
		out = append(out, n)
	}
	return out
}

// Kernel is an entry of a module.
type Kernel struct {
	Name    string
	Threads int // the most of a block (.maxntid), 0 when not said
	Params  int // bytes of parameters
	module  *Module
	code    []inst
	lines   []string // of the module, for reports
	labels  map[string]int
	tables  map[string][]string // .branchtargets by label
	vars    map[string]variable
	regs    registers
	static  int // bytes of static shared memory, the guard before it included
	dynamic int // where dynamic shared memory starts
	local   int // bytes of local memory of a thread
	waits   bool
}

// space is a state space.
type space uint8

const (
	generic space = iota
	global
	shared
	local
	param
	constant
)

// variable is a named place; at is an address in its space.
type variable struct {
	space space
	at    uint64
	size  int
	align int
	init  []byte
}

// guard is what lies before a block's shared memory, so that 0 is no address
// and nothing is aligned by chance.
const guard = 16

var (
	commentLine = regexp.MustCompile(`//[^\n]*`)
	commentSpan = regexp.MustCompile(`(?s)/\*.*?\*/`)
	targetLine  = regexp.MustCompile(`\.target\s+(\w+)`)
	entryHead   = regexp.MustCompile(`(?s)\.entry\s+([\w$]+)\s*\((.*?)\)([^{;]*)\{`)
	maxThreads  = regexp.MustCompile(`\.maxntid\s+(\d+)(?:\s*,\s*(\d+)\s*,\s*(\d+))?`)
	declaration = regexp.MustCompile(`\.(shared|global|const|local)((?:\s+\.\w+|\s+\d+)*)\s+\.([bsuf]\d+)\s+([\w$%]+)\s*((?:\[\s*\d*\s*\])*)\s*(?:=\s*(\{[^}]*\}|[\w.+-]+))?\s*;`)
	parameter   = regexp.MustCompile(`\.param((?:\s+\.\w+|\s+\d+)*)\s+\.([bsuf]\d+)\s+([\w$]+)\s*(?:\[\s*(\d+)\s*\])?`)
	alignment   = regexp.MustCompile(`\.align\s+(\d+)`)
	labelHead   = regexp.MustCompile(`^([$\w]+):`)
)

// Parse reads a module. Its error names the line and what is not known there.
func Parse(text string) (mod *Module, err error) {
	defer func() {
		if r := recover(); r != nil {
			f, ok := r.(failure)
			if !ok {
				panic(r)
			}
			mod, err = nil, fmt.Errorf("ptx: %s", string(f))
		}
	}()
	lines := strings.Split(text, "\n")
	text = commentLine.ReplaceAllString(text, "")
	text = commentSpan.ReplaceAllStringFunc(text,
		func(s string) string { return strings.Repeat("\n", strings.Count(s, "\n")) })
	mod = &Module{kernels: map[string]*Kernel{}, vars: map[string]variable{}}
	if m := targetLine.FindStringSubmatch(text); m != nil {
		mod.Target = m[1]
	}
	if i := strings.Index(text, ".func"); i >= 0 {
		fail("line %d: functions that are called are not known: inline them", 1+strings.Count(text[:i], "\n"))
	}
	entries := entryHead.FindAllStringSubmatchIndex(text, -1)
	var bodies []string
	outside, from := "", 0
	for _, e := range entries {
		body := text[e[1]:]
		body = body[:matching(body)]
		bodies = append(bodies, body)
		outside += text[from:e[0]]
		from = e[1] + len(body)
	}
	mod.declare(outside + text[from:])
	for i, e := range entries {
		k := &Kernel{Name: text[e[2]:e[3]], module: mod, lines: lines}
		mod.kernels[k.Name] = k
		if m := maxThreads.FindStringSubmatch(text[e[6]:e[7]]); m != nil {
			k.Threads = 1
			for _, s := range m[1:] {
				if n, err := strconv.Atoi(s); err == nil {
					k.Threads *= n
				}
			}
		}
		k.parse(text[e[4]:e[5]], bodies[i], 1+strings.Count(text[:e[1]], "\n"))
	}
	return mod, nil
}

// failure is why a module cannot be read.
type failure string

func fail(format string, args ...any) { panic(failure(fmt.Sprintf(format, args...))) }

// matching is the place of the brace that ends a body.
func matching(s string) int {
	depth := 1
	for i := range len(s) {
		switch s[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	fail("a body without an end")
	return 0
}

// declare takes in the variables that lie outside of kernels.
func (m *Module) declare(text string) {
	for _, d := range declaration.FindAllStringSubmatch(text, -1) {
		v := declared(d)
		if v.space == global {
			at := up(len(m.data), v.align)
			m.data = append(m.data, make([]byte, at-len(m.data)+v.size)...)
			copy(m.data[at:], v.init)
			v.at = moduleWindow + uint64(at)
		}
		m.vars[d[4]] = v
	}
}

// declared reads a match of declaration.
func declared(d []string) variable {
	v := variable{space: map[string]space{"shared": shared, "global": global, "const": global,
		"local": local}[d[1]]}
	el := width(d[3])
	v.align, v.size = el, el
	if a := alignment.FindStringSubmatch(d[2]); a != nil {
		v.align, _ = strconv.Atoi(a[1])
	}
	for _, n := range strings.FieldsFunc(d[5], func(r rune) bool { return r == '[' || r == ']' || r == ' ' }) {
		e, _ := strconv.Atoi(n)
		v.size *= e
	}
	if strings.Contains(strings.ReplaceAll(d[5], " ", ""), "[]") {
		v.size = 0
	}
	if d[6] != "" {
		for _, e := range split(strings.Trim(d[6], "{}")) {
			x, ok := number(e)
			if !ok {
				fail("variable %s: the value %q is not known", d[4], e)
			}
			for i := range el {
				v.init = append(v.init, byte(x>>(8*i)))
			}
		}
		v.size = max(v.size, len(v.init))
	}
	return v
}

// parse reads a kernel's parameters and its body, which starts on a line.
func (k *Kernel) parse(params, body string, line int) {
	k.vars, k.labels, k.tables = map[string]variable{}, map[string]int{}, map[string][]string{}
	k.regs.names = []map[string]reg{{}}
	for _, p := range parameter.FindAllStringSubmatch(params, -1) {
		v := variable{space: param, size: width(p[2])}
		v.align = v.size
		if a := alignment.FindStringSubmatch(p[1]); a != nil {
			v.align, _ = strconv.Atoi(a[1])
		}
		if p[4] != "" {
			n, _ := strconv.Atoi(p[4])
			v.size *= n
		}
		v.at = uint64(up(k.Params, v.align))
		k.Params = int(v.at) + v.size
		k.vars[p[3]] = v
	}
	k.static = guard
	var extern []string
	for _, d := range declaration.FindAllStringSubmatch(body, -1) {
		v := declared(d)
		switch v.space {
		case shared:
			k.vars[d[4]] = k.place(v)
		case local:
			v.at = uint64(up(k.local, v.align))
			k.local = int(v.at) + v.size
			k.vars[d[4]] = v
		}
	}
	for name, v := range k.module.vars {
		switch {
		case v.space == shared && v.size == 0:
			extern = append(extern, name)
		case v.space == shared && strings.Contains(body, name):
			k.vars[name] = k.place(v)
		case v.space == global:
			k.vars[name] = v
		}
	}
	k.dynamic = up(k.static, 16)
	for _, name := range extern {
		k.vars[name] = variable{space: shared, at: uint64(k.dynamic)}
	}
	k.body(body, line)
	k.waits = strings.Contains(body, "griddepcontrol.wait")
	for i := range k.code {
		k.decode(&k.code[i])
	}
}

// place gives a static variable its room in shared memory.
func (k *Kernel) place(v variable) variable {
	v.at = uint64(up(k.static, v.align))
	k.static = int(v.at) + v.size
	return v
}

// body splits a body into statements.
func (k *Kernel) body(s string, line int) {
	skip := func(n int) {
		line += strings.Count(s[:n], "\n")
		s = s[n:]
	}
	for {
		skip(len(s) - len(strings.TrimLeft(s, " \t\n\r")))
		switch {
		case s == "":
			return
		case s[0] == '{':
			k.regs.names = append(k.regs.names, map[string]reg{})
			skip(1)
			continue
		case s[0] == '}':
			k.regs.names = k.regs.names[:len(k.regs.names)-1]
			skip(1)
			continue
		}
		if m := labelHead.FindString(s); m != "" {
			name := m[:len(m)-1]
			k.labels[name] = len(k.code)
			skip(len(m))
			if rest := strings.TrimLeft(s, " \t\n\r"); strings.HasPrefix(rest, ".branchtargets") {
				end := strings.IndexByte(s, ';')
				k.tables[name] = split(strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(s[:end]),
					".branchtargets")))
				skip(end + 1)
			}
			continue
		}
		end := strings.IndexByte(s, ';')
		if end < 0 {
			fail("line %d: a statement without an end", line)
		}
		k.statement(strings.TrimSpace(s[:end]), line)
		skip(end + 1)
	}
}

// statement reads a declaration of registers or an instruction.
func (k *Kernel) statement(s string, line int) {
	if rest, ok := strings.CutPrefix(s, ".reg"); ok {
		k.regs.declare(strings.TrimSpace(rest), line)
		return
	}
	if s == "" || s[0] == '.' {
		return
	}
	in := inst{line: line, pred: -1}
	cut := func() string {
		i := strings.IndexAny(s, " \t\n")
		if i < 0 {
			i = len(s)
		}
		head := s[:i]
		s = strings.TrimSpace(s[i:])
		return head
	}
	if s[0] == '@' {
		p := cut()[1:]
		if p[0] == '!' {
			in.not, p = true, p[1:]
		}
		r := k.regs.find(p, line)
		in.pred, in.predID = r.index, r.id
	}
	in.full = cut()
	in.op = strings.Split(in.full, ".")
	for _, a := range split(s) {
		in.args = append(in.args, k.operand(a, line))
	}
	k.code = append(k.code, in)
}

// split cuts at commas outside of braces and brackets.
func split(s string) []string {
	var out []string
	depth, from := 0, 0
	for i := range len(s) {
		switch s[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case ',':
			if depth == 0 {
				out = append(out, strings.TrimSpace(s[from:i]))
				from = i + 1
			}
		}
	}
	if s = strings.TrimSpace(s[from:]); s != "" {
		out = append(out, s)
	}
	return out
}

// width is the bytes of a type such as "b32".
func width(typ string) int {
	if typ == "bf16" {
		return 2
	}
	n, err := strconv.Atoi(strings.TrimLeft(typ, "bsuf"))
	if err != nil || n%8 != 0 {
		return 0
	}
	return n / 8
}

// up rounds n up to a multiple of a.
func up(n, a int) int { return (n + a - 1) / a * a }
