package jinja

import (
	"cmp"
	"math"
	"math/big"
	"math/bits"
)

// errWide is the failure of an integer result outside 64 bits.
func errWide() error { return newError(LimitError, "integer result does not fit 64 bits") }

// unary is -v or +v.
func unary(op string, v Value) Value {
	switch v := v.(type) {
	case *Undefined:
		panic(v.err())
	case float64:
		if op == "-" {
			return -v
		}
		return v
	case *big.Int:
		if op == "-" {
			return new(big.Int).Neg(v)
		}
		return v
	}
	i, ok := integer(v)
	switch {
	case !ok:
		panic(typeErrorf("bad operand type for unary %s: '%s'", op, typeName(v)))
	case op == "+":
		return i
	case i == math.MinInt64:
		panic(errWide())
	}
	return -i
}

// arith is a binary operation on two numbers.
func arith(op string, l, r Value) Value {
	a, aok := integer(l)
	b, bok := integer(r)
	if aok && bok {
		return intArith(op, a, b)
	}
	_, lf := l.(float64)
	_, rf := r.(float64)
	if !lf && !rf {
		panic(newError(LimitError, "arithmetic on integers beyond 64 bits is not supported"))
	}
	x, _ := number(l)
	y, _ := number(r)
	return floatArith(op, x, y)
}

func intArith(op string, a, b int64) Value {
	switch op {
	case "+":
		if c := a + b; (c > a) == (b > 0) {
			return c
		}
	case "-":
		if c := a - b; (c < a) == (b > 0) {
			return c
		}
	case "*":
		hi, lo := bits.Mul64(abs64(a), abs64(b))
		if hi == 0 && lo <= math.MaxInt64 {
			return a * b
		}
	case "/":
		if b == 0 {
			panic(valueErrorf("division by zero"))
		}
		return float64(a) / float64(b)
	case "//", "%":
		if b == 0 {
			panic(valueErrorf("integer division or modulo by zero"))
		}
		if a == math.MinInt64 && b == -1 {
			panic(errWide())
		}
		q, m := a/b, a%b
		if m != 0 && (m < 0) != (b < 0) {
			q, m = q-1, m+b
		}
		if op == "//" {
			return q
		}
		return m
	case "**":
		return intPow(a, b)
	}
	panic(errWide())
}

func abs64(a int64) uint64 {
	if a < 0 {
		return -uint64(a)
	}
	return uint64(a)
}

func intPow(a, b int64) Value {
	if b < 0 {
		return floatArith("**", float64(a), float64(b))
	}
	result := int64(1)
	for b > 0 {
		if b&1 == 1 {
			v := intArith("*", result, a)
			result = v.(int64)
		}
		if b >>= 1; b > 0 {
			v := intArith("*", a, a)
			a = v.(int64)
		}
	}
	return result
}

func floatArith(op string, x, y float64) Value {
	switch op {
	case "+":
		return x + y
	case "-":
		return x - y
	case "*":
		return x * y
	case "/":
		if y == 0 {
			panic(valueErrorf("float division by zero"))
		}
		return x / y
	case "//", "%":
		if y == 0 {
			panic(valueErrorf("float floor division by zero"))
		}
		m := math.Mod(x, y)
		d := (x - m) / y
		if m != 0 && (m < 0) != (y < 0) {
			m, d = m+y, d-1
		}
		if op == "%" {
			if m == 0 {
				m = math.Copysign(0, y)
			}
			return m
		}
		f := math.Floor(d)
		if d-f > 0.5 {
			f++
		}
		if d == 0 {
			f = math.Copysign(0, x/y)
		}
		return f
	}
	switch {
	case x == 0 && y < 0:
		panic(valueErrorf("0.0 cannot be raised to a negative power"))
	case x < 0 && y != math.Trunc(y):
		panic(newError(LimitError, "complex numbers are not supported"))
	}
	v := math.Pow(x, y)
	if math.IsInf(v, 0) && !math.IsInf(x, 0) && !math.IsInf(y, 0) {
		panic(valueErrorf("(34, 'Numerical result out of range')"))
	}
	return v
}

// compareNumbers orders two numbers exactly, integers of any size included. unordered is set for NaN.
func compareNumbers(l, r Value) (c int, unordered bool) {
	a, aok := integer(l)
	b, bok := integer(r)
	if aok && bok {
		return cmp.Compare(a, b), false
	}
	x, y := exact(l), exact(r)
	if x == nil || y == nil {
		f, _ := number(l)
		g, _ := number(r)
		return cmp.Compare(f, g), math.IsNaN(f) || math.IsNaN(g)
	}
	return x.Cmp(y), false
}

// exact is a finite number as a big.Float without rounding, nil for NaN and infinities.
func exact(v Value) *big.Float {
	switch v := v.(type) {
	case *big.Int:
		return new(big.Float).SetInt(v)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil
		}
		return new(big.Float).SetFloat64(v)
	}
	i, _ := integer(v)
	return new(big.Float).SetInt64(i)
}
