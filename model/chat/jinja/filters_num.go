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

func filterInt(_ *state, in Value, b []Value) (Value, error) {
	def := orDefault(b[0], int64(0))
	base, err := intArg(b[1], 10)
	if err != nil {
		return nil, err
	}
	if base != 10 && base != 2 && base != 8 && base != 16 {
		return nil, valueErrorf("int() base must be 2, 8, 10 or 16")
	}
	if s, ok := text(in); ok {
		if v, ok := parseInt(s, int(base)); ok {
			return v, nil
		}
		if f, ok := parseFloat(s); ok {
			if v, ok := truncated(f); ok {
				return v, nil
			}
		}
		return def, nil
	}
	switch v := in.(type) {
	case *Undefined:
		return nil, v.err()
	case float64:
		if i, ok := truncated(v); ok {
			return i, nil
		}
		if math.IsInf(v, 0) {
			return nil, valueErrorf("cannot convert float infinity to integer")
		}
		return def, nil
	case *big.Int:
		return v, nil
	}
	if i, ok := integer(in); ok {
		return i, nil
	}
	return def, nil
}

func filterFloat(_ *state, in Value, b []Value) (Value, error) {
	if u, ok := in.(*Undefined); ok {
		return nil, u.err()
	}
	if f, ok := number(in); ok {
		return f, nil
	}
	if s, ok := text(in); ok {
		if f, ok := parseFloat(s); ok {
			return f, nil
		}
	}
	return orDefault(b[0], 0.0), nil
}

func filterRound(st *state, in Value, b []Value) (Value, error) {
	prec, err := intArg(b[0], 0)
	if err != nil {
		return nil, err
	}
	if prec > 300 || prec < -300 {
		return nil, valueErrorf("precision of %d is out of range", prec)
	}
	method, _ := text(orDefault(b[1], origin.Own("common")))
	x, ok := number(in)
	switch {
	case !ok && method == "common":
		return nil, typeErrorf("type %s doesn't define __round__ method", typeName(in))
	case !ok:
		return st.binary("*", in, int64(1))
	}
	scale := math.Pow(10, float64(prec))
	switch method {
	case "common":
		if i, isInt := integer(in); isInt && prec >= 0 {
			return i, nil
		}
		if prec < 0 {
			r := math.RoundToEven(x*math.Pow(10, float64(prec))) * math.Pow(10, float64(-prec))
			if _, isInt := integer(in); isInt {
				return int64(r), nil
			}
			return r, nil
		}
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return x, nil
		}
		// Exact decimal rounding, halves to even, as Python rounds.
		f, err := strconv.ParseFloat(strconv.FormatFloat(x, 'f', int(prec), 64), 64)
		return f, err
	case "ceil":
		return math.Ceil(x*scale) / scale, nil
	case "floor":
		return math.Floor(x*scale) / scale, nil
	}
	return nil, valueErrorf("method must be common, ceil or floor")
}
