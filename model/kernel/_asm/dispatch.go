package main

import (
	"bytes"
	"fmt"
	"go/format"
	"slices"
	"strings"
)

// Kernel is a function of package kernel that is written in Go, as NameGeneric, and
// in assembly for some levels. Package kernel calls Name, which is generated: it calls
// the best there is at the level in use.
type Kernel struct {
	Name   string
	Doc    string // what it does, after its name
	Params string // of Name and NameGeneric, as Go declares them
	Args   []Arg  // of the assembly
	Result string // type, if any
}

// Arg is a parameter of the assembly, "name type = value": the value is Go and made
// of Params. Without one it is the parameter of that name, or the address of its
// first element for a pointer.
type Arg string

func (a Arg) split() (name, typ, value string) {
	decl, value, given := strings.Cut(string(a), " = ")
	name, typ, _ = strings.Cut(decl, " ")
	switch {
	case given:
	case typ[0] == '*':
		value = "&" + name + "[0]"
	default:
		value = name
	}
	return name, typ, value
}

// Tile is a function that computes tiles of products in one number format.
type Tile struct {
	format string // its DType
	level  string
	rows   int  // of a row tile, at most
	bytes  int  // of C's columns
	words  int  // of A a step
	wide   bool // another function takes several panels at once
	keeps  bool // another function widens W once for several row tiles
	matrix bool // it is the matrix unit's, which takes arguments of its own

	columns bool // another function takes A by columns
	pairs   bool // others take two panels at once, with A by rows or columns
}

// Peak is a loop of nothing but multiply-adds in one number format.
type Peak struct {
	format, level string
	ops           int    // a turn
	what          string // it repeats
}

// Package is what all files together say of package kernel.
type Package struct {
	kernels []Kernel
	levels  map[string][]string // by name of the kernel
	tiles   []Tile
	peaks   []Peak
}

func (p *Package) add(k Kernel, level string) {
	if p.levels == nil {
		p.levels = map[string][]string{}
	}
	if p.levels[k.Name] == nil {
		p.kernels = append(p.kernels, k)
	}
	p.levels[k.Name] = append(p.levels[k.Name], level)
}

// Dispatch returns the two files that choose: of builds with assembly, and without.
func (p *Package) Dispatch() (withAsm, without []byte, err error) {
	var with, none bytes.Buffer
	with.WriteString(generated + "//go:build amd64 && !noasm\n\npackage kernel\n\n" +
		"import \"github.com/warmserve/warmserve/model/kernel/amd64\"\n")
	none.WriteString(generated + "//go:build noasm || !amd64\n\npackage kernel\n")
	for _, k := range p.kernels {
		head := fmt.Sprintf("\n%s\nfunc %s(%s) %s {\n", comment(k.Name+" "+k.Doc), k.Name, k.Params, k.Result)
		generic := fmt.Sprintf("%sGeneric(%s)\n", k.Name, strings.Join(names(k.Params), ", "))
		give := ""
		if k.Result != "" {
			give = "return "
		}
		with.WriteString(head + "switch {\n")
		for _, l := range levels {
			if slices.Contains(p.levels[k.Name], l.name) {
				fmt.Fprintf(&with, "case %s:\n%samd64.%s%s(%s)\n",
					l.has, give, exported(k.Name), l.name, strings.Join(values(k.Args), ", "))
			}
		}
		if give == "" {
			with.WriteString("default:\n" + generic + "}\n}\n")
		} else {
			with.WriteString("}\n" + give + generic + "}\n")
		}
		none.WriteString(head + give + generic + "}\n")
	}
	p.writeTiles(&with)
	p.writePeaks(&with)
	none.WriteString("\n// peakLoop returns the loop to measure, its operations for each count, and what they are.\n" +
		"func peakLoop(DType) (loop func(int), ops float64, what string) {\n" +
		"return peakGeneric, peakGenericOps, peakGenericWhat\n}\n")
	if withAsm, err = format.Source(with.Bytes()); err != nil {
		return nil, nil, err
	}
	without, err = format.Source(none.Bytes())
	return withAsm, without, err
}

// names returns the names of a parameter list.
func names(params string) []string {
	var out []string
	for _, p := range strings.Split(params, ", ") {
		name, _, _ := strings.Cut(p, " ")
		out = append(out, name)
	}
	return out
}

func values(args []Arg) []string {
	var out []string
	for _, a := range args {
		_, _, v := a.split()
		out = append(out, v)
	}
	return out
}

// has returns the condition of a level.
func has(name string) string {
	for _, l := range levels {
		if l.name == name {
			return l.has
		}
	}
	panic("no level " + name)
}

// best puts what is for better levels first.
func best[T any](all []T, levelOf func(T) string) []T {
	index := func(t T) int {
		return slices.IndexFunc(levels, func(l level) bool { return l.name == levelOf(t) })
	}
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b T) int { return index(a) - index(b) })
	return all
}

// writeTiles writes the choice of a tile, made once a product, and its calls.
func (p *Package) writeTiles(w *bytes.Buffer) {
	tiles := best(p.tiles, func(t Tile) string { return t.level })
	w.WriteString("\n// The tiles.\nconst (\n")
	for i, t := range tiles {
		fmt.Fprintf(w, "tile%s%s", t.format, t.level)
		if i == 0 {
			w.WriteString(" tileKind = iota + 1")
		}
		w.WriteString("\n")
	}
	w.WriteString(")\n\n// tileOf returns the tile for products of d at the level in use; its kind is 0\n// without one. Those of the matrix unit count where matrix says so.\n" +
		"func tileOf(d DType, matrix bool) tileShape {\nswitch {\n")
	for _, t := range tiles {
		which, want := fmt.Sprintf("wide: %v, keeps: %v, columns: %v, pairs: %v", t.wide, t.keeps, t.columns, t.pairs), ""
		if t.matrix {
			which, want = "matrix: true", "matrix && "
		}
		fmt.Fprintf(w, "case %sd == %s && %s:\nreturn tileShape{kind: tile%s%s, rows: %d, bytes: %d, words: %d, %s}\n",
			want, t.format, has(t.level), t.format, t.level, t.rows, t.bytes, t.words, which)
	}
	w.WriteString("}\nreturn tileShape{}\n}\n")
	writeRun(w, tiles, "run", "TileArgs", "Tile",
		"computes tiles of one panel, or of the part of it that the tile takes.",
		func(t Tile) bool { return !t.matrix })
	writeRun(w, tiles, "runWide", "TileArgs", "TileWide",
		"computes one tile of several panels, where the shape says that there is a function for it.",
		func(t Tile) bool { return t.wide })
	writeRun(w, tiles, "runKept", "TileArgs", "TileKept",
		"computes several tiles of one panel, where the shape says that there is a function for it.",
		func(t Tile) bool { return t.keeps })
	writeRun(w, tiles, "runColumns", "TileArgs", "TileColumns",
		"computes tiles of A by columns, where the shape says that there is a function for it.",
		func(t Tile) bool { return t.columns })
	writeRun(w, tiles, "runPair", "TileArgs", "TilePair",
		"computes tiles of two panels, where the shape says that there is a function for it.",
		func(t Tile) bool { return t.pairs })
	writeRun(w, tiles, "runPairColumns", "TileArgs", "TilePairColumns",
		"computes tiles of two panels and A by columns, where the shape says that there is a function for it.",
		func(t Tile) bool { return t.pairs })
	writeRun(w, tiles, "runMatrix", "AMXArgs", "Tile", "computes panels on the matrix unit, where the shape says so.",
		func(t Tile) bool { return t.matrix })
}

// writeRun writes a method of tileKind that calls the functions of some tiles.
func writeRun(w *bytes.Buffer, tiles []Tile, name, args, call, doc string, has func(Tile) bool) {
	fmt.Fprintf(w, "\n%s\nfunc (k tileKind) %s(t *amd64.%s) {\nswitch k {\n", comment(name+" "+doc), name, args)
	for _, t := range tiles {
		if has(t) {
			fmt.Fprintf(w, "case tile%s%s:\namd64.%s%s%s(t)\n", t.format, t.level, call, t.format, t.level)
		}
	}
	w.WriteString("}\n}\n")
}

func filter[T any](all []T, keep func(T) bool) (kept []T) {
	for _, v := range all {
		if keep(v) {
			kept = append(kept, v)
		}
	}
	return kept
}

// writePeaks writes the choice of a loop to measure the peak with: that of the
// format, or of float32 at the level.
func (p *Package) writePeaks(w *bytes.Buffer) {
	w.WriteString("\n// peakLoop returns the loop to measure, its operations for each count, and what they are.\n" +
		"func peakLoop(d DType) (loop func(int), ops float64, what string) {\nswitch {\n")
	peaks := best(p.peaks, func(k Peak) string { return k.level })
	// What serves every format comes last.
	own := func(k Peak) bool { return k.format != "Float32" }
	peaks = slices.Concat(filter(peaks, own), filter(peaks, func(k Peak) bool { return !own(k) }))
	for _, k := range peaks {
		when := has(k.level)
		if k.format != "Float32" {
			when = "d == " + k.format + " && " + when
		}
		fmt.Fprintf(w, "case %s:\nreturn amd64.Peak%s%s, %d, %q\n", when, k.format, k.level, k.ops, k.what)
	}
	w.WriteString("}\nreturn peakGeneric, peakGenericOps, peakGenericWhat\n}\n")
}

// exported returns the name of a kernel as package amd64 exports it.
func exported(name string) string {
	for _, word := range []string{"RMS", "GELU", "ReLU", "SiLU", "BF16"} {
		if rest, ok := strings.CutPrefix(name, strings.ToLower(word)); ok {
			return word + rest
		}
	}
	return strings.ToUpper(name[:1]) + name[1:]
}
