package origin

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// letters is the slow reference: one origin for each character, no empty runs.
type letters struct {
	chars []rune
	from  []ID
}

func lettersOf(t Text) letters {
	var l letters
	begin := 0
	for end, from := range t.Runs() {
		for _, r := range t.Peek()[begin:end] {
			l.chars, l.from = append(l.chars, r), append(l.from, from)
		}
		begin = end
	}
	return l
}

func (l letters) slice(i, j int) letters { return letters{l.chars[i:j], l.from[i:j]} }

func (l letters) plus(m letters) letters {
	return letters{append(append([]rune{}, l.chars...), m.chars...), append(append([]ID{}, l.from...), m.from...)}
}

func (l letters) text() string { return string(l.chars) }

// requireRules holds the rules that a Text keeps.
func requireRules(tb testing.TB, t Text) {
	tb.Helper()
	n, begin, last := 0, 0, ID(-2)
	for end, from := range t.Runs() {
		require.GreaterOrEqual(tb, end, begin)
		require.NotEqual(tb, last, from, "neighbours differ")
		require.False(tb, end == begin && from == Template && t.runs != nil, "an empty run of the template's")
		n, begin, last = n+1, end, from
	}
	require.Equal(tb, t.Len(), begin)
	require.Equal(tb, t.runs != nil, n > 1)
}

func randomText(r *rand.Rand) Text {
	var b Builder
	for range r.IntN(5) {
		s := ""
		for range r.IntN(4) {
			s += string([]rune("aab é漢\nß")[r.IntN(8)])
		}
		b.Write(Given(s, ID(r.IntN(4)-1)))
	}
	return b.Text()
}

// offset is the byte offset of a character.
func offset(t Text, i int) int { return len(string([]rune(t.Peek())[:i])) }

func TestOperationsCarryTheOriginOfEachCharacter(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 4_000 {
		x, y := randomText(r), randomText(r)
		lx, ly := lettersOf(x), lettersOf(y)
		n := len(lx.chars)
		i := r.IntN(n + 1)
		j := i + r.IntN(n+1-i)
		bi, bj := offset(x, i), offset(x, j)
		check := func(want letters, got Text) {
			t.Helper()
			requireRules(t, got)
			require.Equal(t, want.text(), got.Peek())
			g := lettersOf(got)
			for k := range want.from {
				require.Equal(t, want.from[k], g.from[k], "%q at %d", got.Peek(), k)
			}
		}
		check(lx.slice(i, j), x.Slice(bi, bj))
		check(lx.slice(i, j), x.Trim(bi, bj))
		check(lx.plus(ly), Join([]Text{x, y}, Text{}))
		check(lx.plus(ly).plus(lx), Join([]Text{x, x}, y))
		check(lx.plus(lx).plus(lx), x.Repeat(3))
		check(lx.slice(0, i).plus(ly).plus(lx.slice(j, n)), Join([]Text{x.Slice(0, bi), y, x.Slice(bj, x.Len())}, Text{}))

		// Replacing, one character or none at a time.
		for _, old := range []string{"a", "", "é"} {
			limit := r.IntN(4) - 1
			var want letters
			done := 0
			for k := range n {
				if (old == "" || string(lx.chars[k]) == old) && (limit < 0 || done < limit) {
					want = want.plus(ly)
					done++
					if old != "" {
						continue
					}
				}
				want = want.plus(lx.slice(k, k+1))
			}
			if old == "" && (limit < 0 || done < limit) {
				want = want.plus(ly)
			}
			check(want, x.Replace(old, y, limit))
		}

		up := x.Map(strings.ToUpper)
		requireRules(t, up)
		require.Equal(t, strings.ToUpper(x.Peek()), up.Peek())
		var want letters
		for k, c := range lx.chars {
			for _, u := range strings.ToUpper(string(c)) {
				want = want.plus(letters{[]rune{u}, lx.from[k : k+1]})
			}
		}
		check(want, up)
	}
}

func TestAFunctionThatMovesCharactersLosesNoOrigin(t *testing.T) {
	mixed := Join([]Text{Own("ab"), Given("cd", 5)}, Text{})
	reverse := func(s string) string {
		out := ""
		for _, r := range s {
			out = string(r) + out
		}
		return out
	}
	for name, f := range map[string]func(string) string{
		"it reverses": reverse, "it adds at the end": func(s string) string { return s + "!" }, "it cuts": func(s string) string { return s[:len(s)/2] + "xyz" }, "it answers": func(string) string { return "" },
	} {
		t.Run(name, func(t *testing.T) {
			got := mixed.Map(f)
			assert.Equal(t, f("abcd"), got.Peek())
			for _, from := range got.Runs() {
				assert.NotEqual(t, Template, from)
			}
		})
	}
	for _, from := range Given("cd", 5).Map(reverse).Runs() {
		assert.Equal(t, ID(5), from, "text of one origin has no other")
	}
}

func TestEmptyValuesKeepTheirPlace(t *testing.T) {
	empty := Given("", 7)
	x := Join([]Text{Own(" a "), empty, Own(" b")}, Text{})
	origins := func(t Text) (out []ID) {
		for _, from := range t.Runs() {
			out = append(out, from)
		}
		return out
	}
	for name, c := range map[string]struct {
		got  Text
		want []ID
	}{
		"in a concatenation":     {x, []ID{0, 7, 0}},
		"in a slice around it":   {x.Slice(1, 4), []ID{0, 7, 0}},
		"in a slice beside it":   {x.Slice(0, 3), []ID{0, 7}},
		"not in one elsewhere":   {x.Slice(0, 1), []ID{0}},
		"in a trimmed text":      {x.Trim(4, 5), []ID{7, 0}},
		"in nothing of it":       {x.Trim(0, 0), []ID{7}},
		"in a repeated one":      {x.Repeat(2), []ID{0, 7, 0, 7, 0}},
		"in no repetition":       {x.Repeat(0), []ID{7}},
		"in what replaces it":    {Given("u", 3).Replace("u", Text{}, -1), []ID{3}},
		"in what is not its own": {Given("u", 3).Replace("u", Own("v"), -1), []ID{3, 0}},
		"in a map":               {x.Map(strings.ToUpper), []ID{0, 7, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			requireRules(t, c.got)
			assert.Equal(t, c.want, origins(c.got))
		})
	}
}

func TestANumberIsNothingElse(t *testing.T) {
	for _, s := range []string{"", "12", "-1.5e+16", "0x1F", "nan", "1,234", "5%"} {
		for _, from := range Number(s).Runs() {
			assert.Equal(t, Template, from, s)
		}
	}
	for _, s := range []string{"<", "</s>", "1;", "[1]", "é"} {
		for _, from := range Number(s).Runs() {
			assert.Equal(t, Request, from, s)
		}
	}
}
