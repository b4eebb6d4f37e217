package tokenizer

// What the longest run of a text that cannot be cut takes, in bytes for each of
// its bytes: the words that it is cut into, and for a single huge word the
// candidates of all its merges, or the lattice of all its pieces. Measured on
// the tokenizers of the tests, with the slices that were outgrown on the way.
const (
	runCost        = 72
	runCostUnigram = 208
)

// Scratch bounds the bytes that encoding text takes beside the text and its ids.
// Ordinary text takes next to nothing, since it is worked on a little at a time;
// a megabyte without a space between words takes many.
func (t *Tokenizer) Scratch(text string) int64 {
	cost := int64(runCost)
	if _, ok := t.model.(*unigram); ok {
		cost = runCostUnigram
	}
	return cost * int64(t.longestRun(text))
}

// longestRun returns the most bytes between two places where text may be cut.
func (t *Tokenizer) longestRun(text string) int {
	if !t.cut.ok {
		return len(text)
	}
	longest, in := 0, bytesOf(text)
	for from := 0; from < len(in); {
		to := t.cut.next(in, from+1)
		longest, from = max(longest, to-from), to
	}
	return longest
}
