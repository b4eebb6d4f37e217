package jinja

import (
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/warmserve/warmserve/model/chat/origin"
)

// parseInt reads text as Python's int(text, base) does; ok is false when it is no integer.
func parseInt(s string, base int) (Value, bool) {
	s = strings.TrimFunc(s, isSpace)
	if strings.HasPrefix(s, "_") || strings.HasSuffix(s, "_") || strings.Contains(s, "__") || len(s) > 4300 {
		return nil, false
	}
	digits := strings.ReplaceAll(s, "_", "")
	prefix := map[int]string{2: "b", 8: "o", 16: "x"}[base]
	if prefix != "" {
		body := strings.TrimLeft(digits, "+-")
		if len(body) > 1 && body[0] == '0' && strings.EqualFold(body[1:2], prefix) {
			digits = strings.Replace(digits, body[:2], "", 1)
		}
	}
	if i, err := strconv.ParseInt(digits, base, 64); err == nil {
		return i, true
	}
	if b, ok := new(big.Int).SetString(digits, base); ok {
		return b, true
	}
	return nil, false
}

// parseFloat reads text as Python's float(text) does.
func parseFloat(s string) (float64, bool) {
	s = strings.TrimFunc(s, isSpace)
	if strings.ContainsAny(s, "xXpP") || strings.Contains(s, "__") || strings.HasPrefix(s, "_") ||
		strings.HasSuffix(s, "_") {
		return 0, false
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
	return f, err == nil || math.IsInf(f, 0)
}

// truncated is a float as an integer, its fraction dropped; ok is false for NaN and infinities.
func truncated(f float64) (Value, bool) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, false
	}
	if math.Abs(f) < 1<<62 {
		return int64(f), true
	}
	b, _ := new(big.Float).SetFloat64(f).Int(nil)
	return b, true
}

func filterInt(_ *state, in Value, b []Value) Value {
	def := orDefault(b[0], int64(0))
	base := intArg(b[1], 10)
	if base != 10 && base != 2 && base != 8 && base != 16 {
		panic(valueErrorf("int() base must be 2, 8, 10 or 16"))
	}
	if s, ok := text(in); ok {
		if v, ok := parseInt(s, int(base)); ok {
			return v
		}
		if f, ok := parseFloat(s); ok {
			if v, ok := truncated(f); ok {
				return v
			}
		}
		return def
	}
	switch v := in.(type) {
	case *Undefined:
		panic(v.err())
	case float64:
		if i, ok := truncated(v); ok {
			return i
		}
		if math.IsInf(v, 0) {
			panic(valueErrorf("cannot convert float infinity to integer"))
		}
		return def
	case *big.Int:
		return v
	}
	if i, ok := integer(in); ok {
		return i
	}
	return def
}

func filterFloat(_ *state, in Value, b []Value) Value {
	if u, ok := in.(*Undefined); ok {
		panic(u.err())
	}
	if f, ok := number(in); ok {
		return f
	}
	if s, ok := text(in); ok {
		if f, ok := parseFloat(s); ok {
			return f
		}
	}
	return orDefault(b[0], 0.0)
}

func filterRound(st *state, in Value, b []Value) Value {
	prec := intArg(b[0], 0)
	if prec > 300 || prec < -300 {
		panic(valueErrorf("precision of %d is out of range", prec))
	}
	method, _ := text(orDefault(b[1], origin.Own("common")))
	x, ok := number(in)
	switch {
	case !ok && method == "common":
		panic(typeErrorf("type %s doesn't define __round__ method", typeName(in)))
	case !ok:
		return st.binary("*", in, int64(1))
	}
	scale := math.Pow(10, float64(prec))
	switch method {
	case "common":
		if i, isInt := integer(in); isInt && prec >= 0 {
			return i
		}
		if prec < 0 {
			r := math.RoundToEven(x*math.Pow(10, float64(prec))) * math.Pow(10, float64(-prec))
			if _, isInt := integer(in); isInt {
				return int64(r)
			}
			return r
		}
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return x
		}
		// Exact decimal rounding, halves to even, as Python rounds.
		f, _ := strconv.ParseFloat(strconv.FormatFloat(x, 'f', int(prec), 64), 64)
		return f
	case "ceil":
		return math.Ceil(x*scale) / scale
	case "floor":
		return math.Floor(x*scale) / scale
	}
	panic(valueErrorf("method must be common, ceil or floor"))
}
