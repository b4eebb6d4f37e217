package tokenizer

// A guard knows the ids of the special tokens that a model has in its own
// vocabulary, and so may make of text in which no added token is matched. The
// unknown token is not among them: it is what text becomes that has no token.
type guard struct{ special []bool } // by id

// newGuard returns nil where the model's vocabulary holds no special token.
func (t *Tokenizer) newGuard() *guard {
	unk := t.model.unknown()
	var g *guard
	for content := range t.added.special {
		id, ok := t.vocab.ids[content]
		if !ok || id == unk {
			continue
		}
		if g == nil {
			g = &guard{make([]bool, len(t.vocab.tokens))}
		}
		g.special[id] = true
	}
	return g
}

func (g *guard) has(id int32) bool { return int(id) < len(g.special) && g.special[id] }

func (g *guard) any(ids []int32) bool {
	for _, id := range ids {
		if g.has(id) {
			return true
		}
	}
	return false
}

// A refusal says where in a word the model may make no special token. The zero
// value refuses nothing.
type refusal struct {
	guard *guard
	plain []span // of the word, in order
}

// token reports whether a token of the word's bytes [from, to) is refused.
func (no refusal) token(id int32, from, to int) bool {
	return len(no.plain) > 0 && no.guard.has(id) && touches(no.plain, from, to)
}

// touches reports whether a byte of [from, to) lies in one of the spans, which
// are in order.
func touches(spans []span, from, to int) bool {
	low, high := 0, len(spans)
	for low < high {
		if mid := int(uint(low+high) >> 1); spans[mid].end <= from {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low < len(spans) && spans[low].start < to
}
