package reward

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/chat"
	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

// frames are chat templates that print what messages say word for word, in the
// ways that real ones frame it.
var frames = map[string]string{
	"plain":          rewardtest.Template,
	"no role":        `{% for m in messages %}{{ m.content + eos_token }}{% endfor %}`,
	"no end":         `{{ bos_token }}{% for m in messages %}{{ '[' + m.role + ']' + m.content }}{% endfor %}`,
	"default system": `{{ bos_token }}{% if messages[0].role != 'system' %}[system]be kind{{ eos_token }}{% endif %}{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token }}{% endfor %}`,
	"merged system": `{{ bos_token }}{% if messages[0].role == 'system' %}{% set system = '{' ~ messages[0].content ~ '}' %}{% set rest = messages[1:] %}{% else %}{% set system = '' %}{% set rest = messages %}{% endif %}` +
		`{% for m in rest %}{% if m.role == 'assistant' %}=> {{ m.content }}{{ eos_token }}{% else %}[{{ (system if loop.first else '') + m.content }}]{% endif %}{% endfor %}`,
	"thought": `{% for m in messages %}{{ bos_token if loop.first }}<{{ m.role }}>{% if m.reasoning_content %}({{ m.reasoning_content }}){% endif %}{{ m.content }}{{ eos_token }}
{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}`,
	"the answer dropped": `{{ bos_token }}{% for m in messages if m.role != 'assistant' %}[{{ m.role }}]{{ m.content }}{{ eos_token }}{% endfor %}`,
}

// marker is a letter of an alphabet of its own for a message and a field.
func marker(message int, field string) rune {
	return 0xE000 + rune(message)*16 + rune(slices.Index([]string{"content", "role", "reasoning_content"}, field))
}

// A cell is what one letter of a slow render stands for.
type cell struct {
	text   string
	source chat.Source
	region region
}

// slowText renders a conversation whose values are one unique letter each, and
// then puts each value in the place of its letter. An empty value keeps its place.
func slowText(t *testing.T, tpl *chat.Template, messages []chat.Message, o ChatOptions) []cell {
	var marked []chat.Message
	values := map[rune]cell{}
	for i, m := range messages {
		data, err := m.MarshalJSON()
		require.NoError(t, err)
		for _, field := range []string{"content", "role", "reasoning_content"} {
			value, ok := valueOf(m, field)
			if !ok {
				continue
			}
			r := marker(i, field)
			values[r] = cell{text: value, source: chat.Source{Message: i, Field: field}}
			if field != "role" { // templates compare roles
				old := fmt.Sprintf(`"%s": %s`, field, quoted(t, value))
				require.Contains(t, string(data), old)
				data = []byte(strings.Replace(string(data), old, fmt.Sprintf(`"%s": "%c"`, field, r), 1))
			}
		}
		parsed, err := chat.ParseMessages([]byte("[" + string(data) + "]"))
		require.NoError(t, err)
		marked = append(marked, parsed...)
	}
	out, err := tpl.Render(marked, chat.Options{AddGenerationPrompt: o.AddGenerationPrompt, Now: templateDate})
	require.NoError(t, err)
	var cells []cell
	for _, r := range out.Text {
		c, ok := values[r]
		if !ok {
			c = cell{text: string(r), source: chat.Source{Message: chat.Own}}
		}
		cells = append(cells, c)
	}
	return cells
}

func valueOf(m chat.Message, field string) (string, bool) {
	switch field {
	case "role":
		return m.Role(), true
	case "content":
		return m.Content()
	}
	data, err := m.MarshalJSON()
	if err != nil {
		return "", false
	}
	_, rest, ok := strings.Cut(string(data), `"reasoning_content": "`)
	if !ok {
		return "", false
	}
	value, _, _ := strings.Cut(rest, `"`) // the tests' thoughts need no escapes
	return value, true
}

func quoted(t *testing.T, s string) string {
	data, err := chat.NewMessage(s, "").MarshalJSON()
	require.NoError(t, err)
	q, ok := strings.CutPrefix(string(data), `{"role": `)
	require.True(t, ok)
	q, ok = strings.CutSuffix(q, `, "content": ""}`)
	require.True(t, ok)
	return q
}

// slowToken is a token of the tests' tokenizer, in which a byte is a token unless it is
// part of <s> or </s>.
type slowToken struct {
	id     int32
	region region
}

// slowRegions is the reference for regions: it looks at one cell after the other.
func slowRegions(cells []cell, messages []chat.Message) {
	last := len(messages) - 1
	said := func(c cell) bool { return c.source.Message != chat.Own && c.source.Field != "role" }
	head := func(c cell) bool { return said(c) && messages[c.source.Message].Role() == "system" }
	lastOther, firstSaid := -1, len(cells)
	for i, c := range cells {
		if said(c) {
			firstSaid = min(firstSaid, i)
			if c.source.Message != last {
				lastOther = i
			}
		}
	}
	from, to := -1, -1 // of the answer
	for i, c := range cells {
		if i > lastOther && said(c) {
			if from < 0 {
				from = i
			}
			to = i + 1
		}
	}
	for i, c := range cells {
		r := &cells[i].region
		switch {
		case i > lastOther && from < 0:
			*r = regionClosing
		case i > lastOther && i < from:
			*r = regionOpening
		case i > lastOther && i < to:
			*r = regionAnswer
		case i > lastOther:
			*r = regionClosing
		case head(c), i < firstSaid:
			*r = regionHead
		case said(c):
			*r = regionPrompt
		default: // a frame between two things that are said
			before, after := i, i
			for !said(cells[before]) {
				before--
			}
			for !said(cells[after]) {
				after++
			}
			if *r = regionPrompt; head(cells[before]) || head(cells[after]) {
				*r = regionHead
			}
		}
	}
}

// slowEnding is the reference for how texts end: a list of the characters of cells,
// from which and to which one after the other is taken and put.
func slowEnding(cells []cell, ending model.Ending, plain bool) []cell {
	var chars []cell
	for _, c := range cells {
		for _, r := range c.text {
			chars = append(chars, cell{string(r), c.source, c.region})
		}
	}
	if ending == model.EndAsIs {
		return chars
	}
	for ending == model.EndOpenRLHF && len(chars) > 0 && chars[len(chars)-1].text == "\n" {
		chars = chars[:len(chars)-1]
	}
	end := chars[max(0, len(chars)-len("</s>")):]
	text, own := "", true
	for _, c := range end {
		text += c.text
		own = own && c.source.Message == chat.Own
	}
	if text == "</s>" && (own || !plain) {
		return chars
	}
	if ending == model.EndOpenRLHF {
		chars = append(chars, cell{" ", chat.Source{Message: chat.Own}, regionEnding})
	}
	return append(chars, cell{"</s>", chat.Source{Message: chat.Own}, regionEnding})
}

// slowTokens is the reference for tokens.
func slowTokens(cells []cell, plain, special, doubleBOS bool) []slowToken {
	var text string
	var regions []region // of each byte
	var own []bool
	for _, c := range cells {
		text += c.text
		regions = append(regions, slices.Repeat([]region{c.region}, len(c.text))...)
		own = append(own, slices.Repeat([]bool{c.source.Message == chat.Own}, len(c.text))...)
	}
	var out []slowToken
	if special {
		out = append(out, slowToken{0, regionSpecial})
	}
	for i := 0; i < len(text); {
		n, id := 1, 2+int32(text[i])
		for j, mark := range []string{"<s>", "</s>"} {
			if strings.HasPrefix(text[i:], mark) && !(plain && slices.Contains(own[i:i+len(mark)], false)) {
				n, id = len(mark), int32(j)
			}
		}
		out = append(out, slowToken{id, slices.Max(regions[i : i+n])})
		i += n
	}
	if len(out) > 1 && out[0].id == 0 && out[1].id == 0 && !doubleBOS {
		out = out[1:]
	}
	if len(out) > 0 && out[0].id == 0 {
		out[0].region = regionSpecial
	}
	return out
}

// slowEnd is the reference for what stays at the end, and for a token that is
// scored for its id.
func slowEnd(tokens []slowToken, ends bool, pooling Pooling) []slowToken {
	last := len(tokens) - 1
	if ends && tokens[last].id == 1 {
		tokens[last].region = regionEnding
	}
	if strings.Contains(string(pooling), "pattern") {
		if at := slowAt(tokens, "pattern:1,93"); at >= 0 {
			tokens[at].region, tokens[at+1].region = regionEnding, regionEnding
		}
	}
	rule, id := ruleOf(pooling)
	if rule == "append" && (last < 0 || tokens[last].id != id) {
		tokens = append(tokens, slowToken{id: id})
	}
	if at := slowAt(tokens, pooling); (rule == "append" || rule == "token") && at >= 0 {
		tokens[at].region = regionEnding
	}
	return tokens
}

// ruleOf splits a rule with a number.
func ruleOf(p Pooling) (name string, n int32) {
	name, number, _ := strings.Cut(string(p), ":")
	fmt.Sscan(number, &n) // 0 for rules without
	return name, n
}

// slowCut removes one token after the other.
func slowCut(tokens []slowToken, limit int, how Truncation) []slowToken {
	for len(tokens) > limit {
		at := -1
		switch how {
		case TruncateLeft:
			at = slices.IndexFunc(tokens, func(x slowToken) bool { return x.region != regionSpecial && x.region != regionEnding })
		case TruncateRight:
			for i, x := range tokens {
				if x.region != regionSpecial && x.region != regionEnding {
					at = i
				}
			}
		default:
			for _, r := range []region{regionPrompt, regionHead, regionAnswer, regionOpening, regionClosing} {
				if at < 0 {
					at = slices.IndexFunc(tokens, func(x slowToken) bool { return x.region == r })
				}
			}
		}
		if at < 0 {
			return nil // what must stay is more
		}
		tokens = slices.Delete(tokens, at, at+1)
	}
	return tokens
}

func slowAt(tokens []slowToken, pooling Pooling) int {
	const pad = 0
	last := len(tokens) - 1
	switch pooling {
	case model.PoolHF:
		for i := last; i >= 0; i-- {
			if tokens[i].id != pad {
				return i
			}
		}
		return 0
	case model.PoolPrompt:
		prompt := slices.IndexFunc(tokens, func(x slowToken) bool { return x.region == regionAnswer || x.region == regionClosing })
		if prompt < 0 { // the ending is all of the answer that there is
			prompt = len(tokens)
			for prompt > 0 && tokens[prompt-1].region == regionEnding {
				prompt--
			}
		}
		for i, x := range tokens {
			if i >= prompt && x.id == pad {
				return max(i-1, 0)
			}
		}
	case model.PoolFirst:
		return 0
	}
	first, latest := -1, -1
	rule, n := ruleOf(pooling)
	for i, x := range tokens {
		if x.id == n && first < 0 {
			first = i
		}
		if x.id == n {
			latest = i
		}
	}
	switch rule {
	case "token", "append":
		return latest
	case "before":
		if first > 0 {
			return first - 1
		}
	case "at":
		return max(len(tokens)+int(n), -1)
	case "pattern": // those of the tests have two ids
		var a, b int32
		fmt.Sscanf(string(pooling), "pattern:%d,%d", &a, &b)
		at := -1
		for i := range len(tokens) - 1 {
			if tokens[i].id == a && tokens[i+1].id == b {
				at = i
			}
		}
		return at
	}
	return last
}

// Pooling is the model's.
type Pooling = model.Pooling

// randomTurns is a conversation of random words, some of which name special tokens.
func randomTurns(t *testing.T, r *rand.Rand) []chat.Message {
	words := []string{"a", "b", "zebra", " ", "", "</s>", "<s>", "<", "/s>", "s>", "assistant", "[user]", "é"}
	say := func() string {
		s := ""
		for range r.IntN(5) {
			s += words[r.IntN(len(words))]
		}
		return s
	}
	var out []chat.Message
	roles := []string{"user", "assistant"}
	if r.IntN(2) == 0 {
		out = append(out, chat.NewMessage("system", say()))
	}
	for i := range 1 + r.IntN(4) {
		role := roles[i%2]
		if r.IntN(6) == 0 {
			role = "system"
		}
		out = append(out, chat.NewMessage(role, say()))
	}
	if r.IntN(3) == 0 {
		m, err := chat.ParseMessages([]byte(`[{"role": "assistant", "reasoning_content": "` + strings.Repeat("why ", 1+r.IntN(2)) + `", "content": ` + quoted(t, say()) + `}]`))
		require.NoError(t, err)
		return append(out, m...)
	}
	return append(out, chat.NewMessage("assistant", say()+[]string{"", "", "</s>", "\n"}[r.IntN(4)]))
}

// poolings are rules of every form; 99 is the letter a, and 299 no token of a text.
var poolings = []Pooling{model.PoolHF, model.PoolLast, model.PoolPrompt, model.PoolFirst, "token:1", "token:99", "append:1", "append:299", "before:1", "before:99", "at:-1", "at:-7",
	"every:99", "pattern:1,93", "last+pattern:1,93"} // and </s>[

// FuzzRegions holds tokens, regions, truncation and the scored token against a
// reference that knows positions because each value was one unique letter when
// the template was rendered.
func FuzzRegions(f *testing.F) {
	names := slices.Sorted(func(yield func(string) bool) {
		for n := range frames {
			if !yield(n) {
				return
			}
		}
	})
	deployments := map[string]*Deployment{}
	for _, n := range names {
		dir := rewardtest.Checkpoint(f, "m", func(c *loader.Contents) { c.ChatTemplate = frames[n] })
		d, err := Open(f.Context(), Config{Members: []Member{{Dir: dir}}}, 1)
		require.NoError(f, err)
		deployments[n] = d
	}
	for i := range 400 {
		f.Add(uint64(i))
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		name := names[r.IntN(len(names))]
		d := *deployments[name].Encoder
		d.Ending = []model.Ending{model.EndAsIs, model.EndEOS, model.EndOpenRLHF}[r.IntN(3)]
		d.DoubleBOS = r.IntN(4) == 0
		messages := randomTurns(t, r)
		o := EncodeOptions{
			Truncate:  []Truncation{"", TruncatePromptLeft, TruncateLeft, TruncateRight}[r.IntN(4)],
			PlainText: r.IntN(2) == 0,
			Pooling:   poolings[r.IntN(len(poolings))],
			MaxTokens: 1 + r.IntN(64),
			Chat:      ChatOptions{AddSpecial: r.IntN(3) == 0, AddGenerationPrompt: r.IntN(4) == 0},
		}
		cells := slowText(t, d.Template, messages, o.Chat)
		slowRegions(cells, messages)
		if o.Chat.ContinueFinal = r.IntN(4) == 0; o.Chat.ContinueFinal {
			answer := chat.Source{Message: len(messages) - 1, Field: "content"}
			i := len(cells) - 1
			for i >= 0 && cells[i].source != answer {
				i--
			}
			if i < 0 {
				_, err := d.Encode(Input{Messages: messages}, o)
				require.ErrorIs(t, err, ErrInput)
				return
			}
			cells = cells[:i+1]
		}
		ending := d.Ending
		if o.Chat.ContinueFinal || o.Chat.AddGenerationPrompt {
			ending = model.EndAsIs
		}
		cells = slowEnding(cells, ending, o.PlainText)
		want := slowTokens(cells, o.PlainText, o.Chat.AddSpecial || d.DoubleBOS, d.DoubleBOS)
		want = slowEnd(want, ending != model.EndAsIs, o.Pooling)
		got, err := d.Encode(Input{Messages: messages}, o)
		if len(want) == 0 {
			require.ErrorIs(t, err, ErrEmpty)
			return
		}
		limit, whole := cmp.Or(o.MaxTokens, d.Context), len(want)
		if want = slowCut(want, limit, o.Truncate); want == nil {
			require.ErrorIs(t, err, ErrTooLong)
			return
		}
		reads := slowReads(want, o.Pooling)
		if len(reads) == 0 {
			require.ErrorIs(t, err, ErrInput)
			return
		}
		if n := len(reads); d.config.Reads(n) != n {
			require.ErrorIs(t, err, ErrInput, "the head reads another number of tokens")
			got, err = d.readByAnyHead(Input{Messages: messages}, o)
		}
		require.NoError(t, err)
		require.Equal(t, whole > limit, got.Truncated)
		if ending != model.EndAsIs && o.Pooling == model.PoolLast {
			require.Equal(t, int32(1), got.IDs[got.Read[0]], "a text ends as it should, and that is scored, however it is cut")
		}
		if rule, id := ruleOf(o.Pooling); rule == "append" {
			require.Equal(t, id, got.IDs[got.Read[0]])
		}
		ids := make([]int32, len(want))
		for i, x := range want {
			ids[i] = x.id
		}
		require.Equal(t, ids, got.IDs, "%s: %v, truncate %q to %d", name, cells, o.Truncate, limit)
		require.Equal(t, reads, got.Read, "%s: %v, %s", name, cells, o.Pooling)
		isAnswer := func(x slowToken) bool { return x.region == regionAnswer }
		if from := slices.IndexFunc(want, isAnswer); from < 0 {
			require.Equal(t, got.AnswerFrom, got.AnswerTo, "%s: no answer is left", name)
		} else {
			to := from + 1
			for i, x := range want {
				if isAnswer(x) {
					to = i + 1
				}
			}
			require.Equal(t, []int{from, to}, []int{got.AnswerFrom, got.AnswerTo}, "%s: %v", name, cells)
		}
	})
}

// readByAnyHead is [Encoder.Encode] for a head that reads as many tokens as there are.
func (e *Encoder) readByAnyHead(in Input, o EncodeOptions) (Encoded, error) {
	x, err := e.encoding(in, o)
	if err != nil {
		return Encoded{}, err
	}
	whole := len(x.ids)
	if whole > o.MaxTokens {
		if err := x.cut(o.MaxTokens, cmp.Or(o.Truncate, TruncatePromptLeft)); err != nil {
			return Encoded{}, err
		}
	}
	read, _ := o.Pooling.Read(x.ids, e.config.PadTokenID, x.promptTokens())
	out := Encoded{Sequence: model.Sequence{IDs: x.ids, Read: read}, Truncated: len(x.ids) < whole}
	out.AnswerFrom, out.AnswerTo = x.answer()
	return out, nil
}

// slowReads is the reference for all tokens that are read.
func slowReads(tokens []slowToken, pooling Pooling) (out []int32) {
	for _, rule := range strings.Split(string(pooling), "+") {
		if name, id := ruleOf(Pooling(rule)); name == "every" {
			for i, x := range tokens {
				if x.id == id {
					out = append(out, int32(i))
				}
			}
			continue
		}
		at := slowAt(tokens, Pooling(rule))
		if at < 0 {
			return nil
		}
		out = append(out, int32(at))
	}
	return out
}
