package reward

import (
	"slices"
	"strings"

	"github.com/warmserve/warmserve/model"
)

// ends says whether texts get the ending of the model: not where a request wants
// them to end elsewhere.
func (e *Encoder) ends(o EncodeOptions) bool {
	return (e.Ending == model.EndEOS || e.Ending == model.EndOpenRLHF) && !o.Chat.ContinueFinal &&
		!o.Chat.AddGenerationPrompt
}

// finish ends a text as the model's texts end.
func (e *Encoder) finish(p *passage, o EncodeOptions) {
	if !e.ends(o) {
		return
	}
	between := ""
	if e.Ending == model.EndOpenRLHF {
		p.trimNewlines()
		between = " "
	}
	if !p.endsWith(e.eos) {
		p.add(between+e.eos, regionEnding, false)
	}
}

// end puts a token behind x that is scored for its id, where it is not there, and keeps the tokens
// that the rule names and the ending of the text from truncation. Token ids get one only where they
// do not have it at all, as they may be a text with its ending and more.
func (e *Encoder) end(x *encoding, in Input, o EncodeOptions) {
	if !e.causal {
		return
	}
	if last := len(x.ids) - 1; in.IDs == nil && in.Text == nil && e.ends(o) && last >= 0 {
		if eos, ok := e.Tokenizer.ID(e.eos); ok && x.ids[last] == eos {
			x.regions[last] = regionEnding
		}
	}
	if id, ok := o.Pooling.Appends(); ok {
		there := len(x.ids) > 0 && x.ids[len(x.ids)-1] == id
		if in.IDs != nil {
			there = slices.Contains(x.ids, id)
		}
		if !there {
			x.append([]int32{id}, regionEnding, 0)
		}
	}
	for _, r := range o.Pooling.Kept(x.ids) {
		for i := r[0]; i < r[1]; i++ {
			x.regions[i] = regionEnding
		}
	}
}

// trimNewlines drops the newlines at the end.
func (p *passage) trimNewlines() {
	p.text = strings.TrimRight(p.text, "\n")
	n := len(p.parts)
	for n > 0 && p.start(n-1) >= len(p.text) {
		n--
	}
	p.parts, p.regions = p.parts[:n], p.regions[:n]
	if n > 0 {
		p.parts[n-1].End = len(p.text)
	}
}

// endsWith says whether the text ends with a special token.
func (p *passage) endsWith(token string) bool {
	if !strings.HasSuffix(p.text, token) {
		return false
	}
	for i := len(p.parts) - 1; i >= 0 && p.parts[i].End > len(p.text)-len(token); i-- {
		if p.parts[i].Plain {
			return false // in which it is text
		}
	}
	return true
}

// start is where a part begins.
func (p *passage) start(part int) int {
	if part == 0 {
		return 0
	}
	return p.parts[part-1].End
}
