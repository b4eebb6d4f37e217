package data

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/warmserve/warmserve/model/chat"
)

// lineInfo is what a line's parser knows besides the line.
type lineInfo struct {
	at  Place
	set string
}

// number stands in for an id.
func (o lineInfo) number() int { return cmp.Or(o.at.Item, o.at.Line) }

// fields are the members of a line's object. What a parser takes is removed; the rest is Meta.
type fields map[string]json.RawMessage

func parseFields(line []byte, o lineInfo) (fields, error) {
	if i := invalidAt(line); i >= 0 {
		return nil, &fieldError{column: i + 1, err: fmt.Errorf("%w: invalid UTF-8", ErrText)}
	}
	var f fields
	err := json.Unmarshal(line, &f)
	if err == nil && f != nil {
		return f, nil
	}
	fe := &fieldError{column: 1, err: fmt.Errorf("%w: %w", ErrSyntax, err)}
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		fe.column = int(syntax.Offset)
		if begin := bytes.TrimSpace(line); o.at.Line == 1 && begin[0] == '{' && fe.column >= len(begin) {
			fe.err = fmt.Errorf("%w: %w: an object over several lines; %s", ErrSyntax, err, wantedFormat)
		}
	case errors.As(err, &typ):
		fe.err = fmt.Errorf("%w: it is a JSON %s", ErrSyntax, typ.Value)
	case err == nil:
		fe.err = fmt.Errorf("%w: it is null", ErrSyntax)
	}
	return nil, fe
}

// invalidAt is the offset of the first byte that is no UTF-8, or -1.
func invalidAt(b []byte) int {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

// take removes a field; null counts as absent.
func (f fields) take(name string) (json.RawMessage, bool) {
	raw, ok := f[name]
	delete(f, name)
	return raw, ok && !isNull(raw)
}

func isNull(raw []byte) bool { return string(bytes.TrimSpace(raw)) == "null" }

// str takes a field that is a string or a number, "" when it is absent.
func (f fields) str(name string) (string, error) {
	raw, ok := f.take(name)
	if !ok {
		return "", nil
	}
	if _, err := strconv.ParseFloat(string(raw), 64); err == nil {
		return string(raw), nil // ids are often numbers
	}
	return decodeString(name, raw)
}

func decodeString(name string, raw json.RawMessage) (string, error) {
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil || s == nil {
		return "", fault(name, ErrType, "want a string, got %s", kind(raw))
	}
	// The decoder replaces half surrogates in silence; a replacement that the line does not spell
	// out is one.
	if strings.Contains(*s, "\ufffd") && !bytes.Contains(raw, []byte("\ufffd")) && !bytes.Contains(bytes.ToLower(raw), []byte(`\ufffd`)) {
		return "", fault(name, ErrText, "half of a surrogate pair")
	}
	return *s, nil
}

// kind names the type of a JSON value.
func kind(raw json.RawMessage) string {
	switch raw = bytes.TrimSpace(raw); raw[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

// text takes a field that is a string or a list of messages. ok is false when it is absent.
func (f fields) text(name string) (t Text, ok bool, err error) {
	raw, ok := f.take(name)
	if !ok {
		return Text{}, false, nil
	}
	switch raw := bytes.TrimSpace(raw); raw[0] {
	case '"':
		t.Plain, err = decodeString(name, raw)
	case '[':
		t.Messages, err = chat.ParseMessages(raw)
		if err != nil {
			err = fault(name, ErrType, "%v", err)
		}
	default:
		err = fault(name, ErrType, "want a string or a list of messages, got %s", kind(raw))
	}
	return t, true, err
}

// answer takes a field that must be there; wanted says what a record of its form holds.
func (f fields) answer(name, wanted string, names []string) (Text, error) {
	_, there := f[name]
	t, ok, err := f.text(name)
	if err == nil && !ok {
		err = missing(name, there, names, wanted)
	}
	return t, err
}

// names are the fields' names, in the order of the alphabet.
func (f fields) names() []string { return slices.Sorted(maps.Keys(f)) }

// missing says that a field is absent or null, what there is and what is wanted.
func missing(name string, null bool, has []string, wanted string) error {
	if null {
		return &fieldError{field: name, has: has, err: fmt.Errorf("%w: it is null", ErrMissing)}
	}
	columns := "no columns"
	if len(has) > 0 {
		columns = "columns " + strings.Join(has, ", ")
	}
	return &fieldError{field: name, has: has, err: fmt.Errorf("%w: %s: %s", ErrMissing, columns, wanted)}
}

// What records hold.
const (
	wantedPair  = "want chosen and rejected, with or without prompt"
	wantedVotes = "want a1, a2 and votes, with or without prompt"
)

// head takes the fields that pairs and votes share.
func (f fields) head(o lineInfo) (id, set, group string, err error) {
	for _, p := range []struct {
		name string
		dst  *string
	}{{"id", &id}, {"set", &set}, {"group", &group}} {
		if *p.dst, err = f.str(p.name); err != nil {
			return "", "", "", err
		}
	}
	if id == "" {
		id = strconv.Itoa(o.number())
	}
	if set == "" {
		set = o.set
	}
	return id, set, group, nil
}

// meta is what remains, or nil.
func (f fields) meta() map[string]json.RawMessage {
	if len(f) == 0 {
		return nil
	}
	return f
}

func parsePair(line []byte, o lineInfo) (Pair, error) {
	f, err := parseFields(line, o)
	if err != nil {
		return Pair{}, err
	}
	p, names := Pair{At: o.at}, f.names()
	if p.ID, p.Set, p.Group, err = f.head(o); err != nil {
		return Pair{}, err
	}
	prompt, has, err := f.text("prompt")
	if err != nil {
		return Pair{}, err
	}
	if p.Chosen, err = f.answer("chosen", wantedPair, names); err != nil {
		return Pair{}, err
	}
	if p.Rejected, err = f.answer("rejected", wantedPair, names); err != nil {
		return Pair{}, err
	}
	if p.Margin, err = f.number("margin"); err != nil {
		return Pair{}, err
	}
	if has {
		prompt, has = p.join(prompt)
	}
	if err := fit(prompt, has, "rejected", p.Chosen, p.Rejected); err != nil {
		return Pair{}, err
	}
	if p.Prompt, p.Meta = prompt, f.meta(); !has {
		p.Prompt = p.implicit()
	}
	return p, p.check()
}

// number takes a field that is a finite number, nil when it is absent.
func (f fields) number(name string) (*float64, error) {
	raw, ok := f.take(name)
	if !ok {
		return nil, nil
	}
	var v float64
	if err := json.Unmarshal(raw, &v); err != nil || math.IsInf(v, 0) {
		return nil, fault(name, ErrType, "want a finite number, got %s", kind(raw))
	}
	return &v, nil
}

// fit checks that the prompt and two answers, the second named second, are of one form.
func fit(prompt Text, has bool, second string, a, b Text) error {
	if a.IsChat() != b.IsChat() {
		return fault(second, ErrForm, "one answer is text, the other is messages")
	}
	if !has {
		return nil
	}
	switch {
	case prompt.IsChat() && !a.IsChat():
		return fault("prompt", ErrForm, "the prompt is messages, the answers are text")
	case !prompt.IsChat() && a.IsChat():
		return fault("prompt", ErrForm, "the prompt is text, the answers are messages that do not begin with it")
	}
	return nil
}

// join makes prompt and answers of one form where that has one meaning: answers that repeat the prompt
// say it by themselves (has is false then); a text before messages is the user's, and a text behind
// them the assistant's.
func (p *Pair) join(prompt Text) (Text, bool) {
	a, b := p.Chosen, p.Rejected
	switch {
	case a.IsChat() != b.IsChat(), !prompt.IsChat() && !a.IsChat():
	case !a.IsChat():
		p.Chosen.Messages = []chat.Message{chat.NewMessage("assistant", a.Plain)}
		p.Rejected.Messages = []chat.Message{chat.NewMessage("assistant", b.Plain)}
		p.Chosen.Plain, p.Rejected.Plain = "", ""
	case prompt.IsChat():
		if len(prompt.Messages) > 0 && startsWith(a.Messages, prompt.Messages) && startsWith(b.Messages, prompt.Messages) {
			return Text{}, false
		}
	case asks(a.Messages, prompt.Plain) && asks(b.Messages, prompt.Plain):
		return Text{}, false
	case answers(a.Messages) && answers(b.Messages):
		return Text{Messages: []chat.Message{chat.NewMessage("user", prompt.Plain)}}, true
	}
	return prompt, true
}

// asks says whether messages begin with a text of the user's, behind a system prompt or not.
func asks(m []chat.Message, text string) bool {
	if len(m) > 0 && m[0].Role() == "system" {
		m = m[1:]
	}
	if len(m) == 0 || m[0].Role() != "user" {
		return false
	}
	s, _ := m[0].Content()
	return strings.TrimSpace(s) == strings.TrimSpace(text)
}

// answers says whether messages begin with the assistant's.
func answers(m []chat.Message) bool { return len(m) > 0 && m[0].Role() == "assistant" }

func startsWith(ms, prefix []chat.Message) bool {
	return len(ms) >= len(prefix) && Text{Messages: ms[:len(prefix)]}.equal(Text{Messages: prefix})
}

// implicit finds the prompt that both answers begin with, and takes it off them: messages that they
// share, or an HH-RLHF dialogue up to the answer. Other plain texts stand alone.
func (p *Pair) implicit() Text {
	if !p.Chosen.IsChat() {
		prompt, a, b, ok := splitHH(p.Chosen.Plain, p.Rejected.Plain)
		if ok {
			p.Chosen.Plain, p.Rejected.Plain = a, b
		}
		return Text{Plain: prompt}
	}
	a, b := p.Chosen.Messages, p.Rejected.Messages
	n := 0
	for n < len(a)-1 && n < len(b)-1 && a[n].Equal(b[n]) {
		n++
	}
	p.Chosen.Messages, p.Rejected.Messages = a[n:], b[n:]
	return Text{Messages: a[:n:n]}
}

// check refuses answers that say nothing and pairs that prefer nothing.
func (p *Pair) check() error {
	if err := checkAnswer("chosen", p.Chosen); err != nil {
		return err
	}
	if err := checkAnswer("rejected", p.Rejected); err != nil {
		return err
	}
	if p.Chosen.equal(p.Rejected) {
		return fault("rejected", ErrSame, "")
	}
	return nil
}

// checkAnswer demands text, or messages of which the last is the assistant's and has text or calls tools.
func checkAnswer(name string, t Text) error {
	if !t.IsChat() {
		if strings.TrimSpace(t.Plain) == "" {
			return fault(name, ErrEmpty, "")
		}
		return nil
	}
	if len(t.Messages) == 0 {
		return fault(name, ErrEmpty, "")
	}
	i := len(t.Messages) - 1
	last := t.Messages[i]
	if last.Role() != "assistant" {
		return fault(fmt.Sprintf("%s[%d].role", name, i), ErrForm, "the last message is of %q, want assistant", last.Role())
	}
	if s, _ := last.Content(); strings.TrimSpace(s) == "" && !last.Has("tool_calls") {
		return fault(fmt.Sprintf("%s[%d].content", name, i), ErrEmpty, "")
	}
	return nil
}

// votes are the spellings of a vote.
var votes = map[string]Vote{"a1": First, "a2": Second, "equal": Equal}

func parseVotes(line []byte, o lineInfo) (Votes, error) {
	f, err := parseFields(line, o)
	if err != nil {
		return Votes{}, err
	}
	v, names := Votes{At: o.at}, f.names()
	if v.ID, v.Set, v.Group, err = f.head(o); err != nil {
		return Votes{}, err
	}
	if v.Prompt, _, err = f.text("prompt"); err != nil {
		return Votes{}, err
	}
	for _, a := range []struct {
		name string
		dst  *Text
	}{{"a1", &v.A1}, {"a2", &v.A2}} {
		if *a.dst, err = f.answer(a.name, wantedVotes, names); err != nil {
			return Votes{}, err
		}
		if err = checkAnswer(a.name, *a.dst); err != nil {
			return Votes{}, err
		}
	}
	if err := fit(v.Prompt, v.Prompt.IsChat() || v.Prompt.Plain != "", "a2", v.A1, v.A2); err != nil {
		return Votes{}, err
	}
	if v.Votes, err = f.votes(); err != nil {
		return Votes{}, err
	}
	gold, err := f.str("gold")
	if err != nil {
		return Votes{}, err
	}
	if gold != "" {
		g, ok := votes[gold]
		if !ok {
			return Votes{}, fault("gold", ErrType, "want a1, a2 or equal, got %q", gold)
		}
		v.Gold = &g
	}
	v.Meta = f.meta()
	return v, nil
}

func (f fields) votes() ([]Vote, error) {
	raw, ok := f.take("votes")
	if !ok {
		return nil, missing("votes", raw != nil, f.names(), wantedVotes)
	}
	var names []string
	if err := json.Unmarshal(raw, &names); err != nil {
		return nil, fault("votes", ErrType, "want a list of strings, got %s", kind(raw))
	}
	if len(names) == 0 {
		return nil, fault("votes", ErrEmpty, "")
	}
	out := make([]Vote, len(names))
	for i, name := range names {
		v, ok := votes[name]
		if !ok {
			return nil, fault(fmt.Sprintf("votes[%d]", i), ErrType, "want a1, a2 or equal, got %q", name)
		}
		out[i] = v
	}
	return out, nil
}
