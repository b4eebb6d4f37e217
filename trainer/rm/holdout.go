package rm

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/warmserve/warmserve/model/nn"
	"github.com/warmserve/warmserve/trainer/data"
)

// Holdout decides which pairs are kept for testing.
type Holdout struct {
	modulo int      // "id%N"
	groups []string // "group=A,B"
	share  float64  // "text:SHARE"
}

// ParseHoldout reads a rule:
//
//	""               nothing is held out
//	"id%10"          pairs whose id begins with a number that 10 divides
//	"group=A,B"      the groups A and B
//	"text:0.1"       about a tenth of the pairs, such that no answer occurs on
//	                 both sides: pairs that share a text stay together
func ParseHoldout(s string) (Holdout, error) {
	var h Holdout
	bad := fmt.Errorf("holdout: %q, want id%%N, group=NAME,… or text:SHARE", s)
	switch {
	case s == "":
	case strings.HasPrefix(s, "id%"):
		n, err := strconv.Atoi(s[3:])
		if err != nil || n < 2 {
			return h, bad
		}
		h.modulo = n
	case strings.HasPrefix(s, "group="):
		h.groups = strings.Split(s[6:], ",")
	case strings.HasPrefix(s, "text:"):
		v, err := strconv.ParseFloat(s[5:], 64)
		if err != nil || !(v > 0 && v < 1) {
			return h, bad
		}
		h.share = v
	default:
		return h, bad
	}
	return h, nil
}

// Split divides pairs into those to learn from and those to test on, each in
// the order given.
func (h Holdout) Split(pairs []Preference, seed uint64) (train, test []Preference, err error) {
	var out func(i int) bool
	switch {
	case h.modulo > 0:
		numbers := make([]int, len(pairs))
		for i, p := range pairs {
			if numbers[i], err = leadingNumber(p.ID); err != nil {
				return nil, nil, err
			}
		}
		out = func(i int) bool { return numbers[i]%h.modulo == 0 }
	case h.groups != nil:
		found := map[string]bool{}
		for _, p := range pairs {
			found[p.Group] = true
		}
		for _, g := range h.groups {
			if !found[g] {
				return nil, nil, fmt.Errorf("holdout: no pair of group %q", g)
			}
		}
		out = func(i int) bool { return slices.Contains(h.groups, pairs[i].Group) }
	case h.share > 0:
		out = apart(pairs, h.share, seed)
	default:
		return pairs, nil, nil
	}
	for i, p := range pairs {
		if out(i) {
			test = append(test, p)
		} else {
			train = append(train, p)
		}
	}
	return train, test, nil
}

// leadingNumber returns the number that an id begins with.
func leadingNumber(id string) (int, error) {
	end := 0
	for end < len(id) && id[end] >= '0' && id[end] <= '9' {
		end++
	}
	n, err := strconv.Atoi(id[:end])
	if err != nil {
		return 0, fmt.Errorf("holdout: id %q does not begin with a number", id)
	}
	return n, nil
}

// apart holds out whole components of pairs that share an answer's text, drawn
// by seed.
func apart(pairs []Preference, share float64, seed uint64) func(i int) bool {
	parent := make([]int, len(pairs)) // a forest of components
	root := func(i int) int {
		for parent[i] != i {
			parent[i] = parent[parent[i]]
			i = parent[i]
		}
		return i
	}
	first := map[string]int{}
	for i := range pairs {
		parent[i] = i
	}
	for i, p := range pairs {
		for _, t := range []data.Text{p.Chosen, p.Rejected} {
			key := TextKey(t)
			if j, ok := first[key]; ok {
				parent[root(i)] = root(j)
			} else {
				first[key] = i
			}
		}
	}
	size := map[int]int{}
	for i := range pairs {
		size[root(i)]++
	}
	var roots []int
	for i := range pairs {
		if root(i) == i {
			roots = append(roots, i)
		}
	}
	slices.SortStableFunc(roots, func(a, b int) int { // a random order that the seed decides
		return cmp.Compare(nn.Mix(seed, uint64(a)), nn.Mix(seed, uint64(b)))
	})
	want, got := max(1, int(share*float64(len(pairs))+0.5)), 0
	held := map[int]bool{}
	for _, r := range roots {
		if got+size[r] <= want {
			held[r] = true
			got += size[r]
		}
	}
	return func(i int) bool { return held[root(i)] }
}

// TextKey is equal for equal texts.
func TextKey(t data.Text) string {
	if !t.IsChat() {
		return t.Plain
	}
	var b strings.Builder
	for _, m := range t.Messages {
		s, _ := m.Content()
		fmt.Fprintf(&b, "%q %q\n", m.Role(), s)
	}
	return b.String()
}
