package reward

import (
	"errors"
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/model/tokenizer"
)

// A region is the part of an input that a token belongs to.
type region uint8

// The order decides whose a token is that holds characters of several regions:
// the later one's.
const (
	regionNone    region = iota // none of the input's characters: a prefix that the tokenizer puts
	regionPrompt                // the messages before the answer, with the template's text between them
	regionHead                  // system prompts, tools, and the template's text up to the first message
	regionOpening               // the template's text that opens the answer
	regionClosing               // the template's text behind the answer
	regionAnswer
	regionEnding  // what ends the model's texts, and tokens that are read for their ids
	regionSpecial // put around the text by the tokenizer, and a BOS that begins it
)

// fixed says whether truncation leaves a region as it is.
func (r region) fixed() bool { return r >= regionEnding }

// removal is the order in which [TruncatePromptLeft] takes regions.
var removal = []region{regionPrompt, regionHead, regionAnswer, regionOpening, regionClosing}

// passage is a text that knows which region each of its parts belongs to.
type passage struct {
	text       string
	parts      []tokenizer.Part
	regions    []region // of the parts
	addSpecial bool     // the tokenizer puts its special tokens around the text
}

// add appends text. Plain text holds no special token. Neighbours of one kind
// become one part.
func (p *passage) add(text string, r region, plain bool) {
	p.text += text
	p.mark(len(p.text), r, plain)
}

// mark says what the text up to end is, from where the last mark ended.
func (p *passage) mark(end int, r region, plain bool) {
	if n := len(p.parts); n > 0 && p.regions[n-1] == r && p.parts[n-1].Plain == plain {
		p.parts[n-1].End = end
		return
	}
	p.parts = append(p.parts, tokenizer.Part{End: end, Plain: plain})
	p.regions = append(p.regions, r)
}

// encoding is tokens that know which region each belongs to. Whatever removes
// tokens removes their regions and types with them, so that every question
// about a token is answered after all edits, from what is left.
type encoding struct {
	ids     []int32
	regions []region
	types   []int32 // token type ids
	typed   bool    // whether the model reads types; without, there are none
}

// append adds tokens of one region.
func (x *encoding) append(ids []int32, r region, typeID int32) {
	x.describe(append(x.ids, ids...), r, typeID)
}

// describe takes ids for the tokens of x: those it has, and new ones of one region.
func (x *encoding) describe(ids []int32, r region, typeID int32) {
	n := len(ids) - len(x.ids)
	x.ids = ids
	x.regions = append(x.regions, slices.Repeat([]region{r}, n)...)
	if x.typed {
		x.types = append(x.types, slices.Repeat([]int32{typeID}, n)...)
	}
}

// appendPassage adds the tokens of a text. With a limit above 0 a text of more
// tokens is refused.
func (x *encoding) appendPassage(t *tokenizer.Tokenizer, p passage, typeID int32, limit int) error {
	from := len(x.ids)
	ids, ranges, err := t.AppendParts(x.ids, p.text, p.parts, limit)
	if errors.Is(err, tokenizer.ErrLimit) {
		return fmt.Errorf("%w: more than %d tokens", ErrTooLong, limit)
	}
	if err != nil {
		return err
	}
	x.describe(ids, regionNone, typeID)
	for i, r := range ranges {
		for j := r.From; j < r.To; j++ {
			x.regions[j] = max(x.regions[j], p.regions[i])
		}
	}
	for j := len(ids) - 1; j >= from; j-- { // a prefix goes with what it is put before
		if x.regions[j] == regionNone && j+1 < len(ids) {
			x.regions[j] = x.regions[j+1]
		}
	}
	return nil
}

// begin makes a BOS in front a special token.
func (x *encoding) begin(bos int32) {
	if bos >= 0 && len(x.ids) > 0 && x.ids[0] == bos {
		x.regions[0] = regionSpecial
	}
}

// dropDoubled drops a BOS in front of another: the template and the tokenizer
// both put one.
func (x *encoding) dropDoubled(bos int32) {
	if bos >= 0 && len(x.ids) > 1 && x.ids[0] == bos && x.ids[1] == bos {
		x.keep(func(i int) bool { return i != 0 })
	}
}

// keep removes the tokens that want is false for.
func (x *encoding) keep(want func(i int) bool) {
	n := 0
	for i := range x.ids {
		if !want(i) {
			continue
		}
		x.ids[n], x.regions[n] = x.ids[i], x.regions[i]
		if x.typed {
			x.types[n] = x.types[i]
		}
		n++
	}
	x.ids, x.regions = x.ids[:n], x.regions[:n]
	if x.typed {
		x.types = x.types[:n]
	}
}

// count returns the number of tokens of a region.
func (x *encoding) count(r region) int {
	n := 0
	for _, v := range x.regions {
		if v == r {
			n++
		}
	}
	return n
}

// promptTokens returns how many tokens stand before the answer.
func (x *encoding) promptTokens() int {
	for i, r := range x.regions {
		if r == regionAnswer || r == regionClosing {
			return i
		}
	}
	n := len(x.ids)
	for n > 0 && x.regions[n-1] == regionEnding {
		n--
	}
	return n
}

// answer returns where the answer's tokens begin and end.
func (x *encoding) answer() (from, to int) {
	from = slices.Index(x.regions, regionAnswer)
	if from < 0 {
		n := x.promptTokens()
		return n, n
	}
	to = len(x.regions)
	for x.regions[to-1] != regionAnswer {
		to--
	}
	return from, to
}

// cut shortens x, which is longer, to limit tokens, or says why that cannot be.
func (x *encoding) cut(limit int, how Truncation) error {
	n := len(x.ids)
	if how == TruncateError {
		return fmt.Errorf("%w: %d tokens, %d fit", ErrTooLong, n, limit)
	}
	fixed := x.count(regionSpecial) + x.count(regionEnding)
	if fixed > limit {
		return fmt.Errorf("%w: %d tokens fit, and every text has %d around it", ErrTooLong, limit, fixed)
	}
	switch how {
	case TruncateLeft:
		x.removeLeft(n-limit, func(r region) bool { return !r.fixed() })
	case TruncateRight:
		room := limit - fixed
		x.keep(func(i int) bool {
			if x.regions[i].fixed() {
				return true
			}
			room--
			return room >= 0
		})
	case TruncatePromptLeft:
		for _, r := range removal {
			x.removeLeft(len(x.ids)-limit, func(v region) bool { return v == r })
		}
	default:
		return fmt.Errorf("%w: unknown truncation %q", ErrInput, how)
	}
	return nil
}

// removeLeft removes the first n tokens, or all, of the regions that may go.
func (x *encoding) removeLeft(n int, may func(region) bool) {
	if n <= 0 {
		return
	}
	x.keep(func(i int) bool {
		if n > 0 && may(x.regions[i]) {
			n--
			return false
		}
		return true
	})
}
