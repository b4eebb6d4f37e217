package reward

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/loader/jsonerr"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/chat"
	"github.com/warmserve/warmserve/warm"
)

// Summary says in words what a checkpoint would be served as.
type Summary struct {
	Config     *model.Config
	Parameters int
	DType      string // stored types, as "F32" or "BF16 and F32"
	Head       string
	Pooling    string
	Ending     string // how the text of a conversation ends; "" as its template has it
	Pad        string
	Tokenizer  string
	Special    string
	Template   string
	Average    []string // what an average was made of, a line each; nil for other checkpoints
	Notes      []string // worth knowing, and no problem
}

// Inspect says what the checkpoint in a directory would be served as, without
// reading its weights. The error lists all that stands against it; the summary
// is nil only when not even the configuration can be read.
func Inspect(dir string) (*Summary, error) {
	ckpt, err := loader.Open(dir)
	if err != nil {
		return nil, err
	}
	defer ckpt.Close()
	return InspectCheckpoint(ckpt, Config{})
}

// InspectCheckpoint is [Inspect] of an open checkpoint that is read as c says: its
// head, output, pooling and ending.
func InspectCheckpoint(ckpt *loader.Checkpoint, c Config) (*Summary, error) {
	cfg, notes, err := model.Resolve(ckpt.Config, ckpt, c.head(ckpt.Dir))
	if errors.Is(err, model.ErrNoHead) {
		return inspectBase(ckpt, err)
	}
	if err != nil {
		return nil, err
	}
	s := &Summary{Config: cfg, Pad: "none: the last token is scored",
		Notes: append(slices.Clone(ckpt.Notes), notes...)}
	if s.Average, err = averageWords(ckpt.AverageRecord); err != nil {
		return nil, err
	}
	readErr := readAs(cfg, ckpt.Config, c)
	n, bindErr := model.Count(cfg, ckpt)
	s.Parameters = n
	e, encErr := newEncoder(ckpt, cfg, Config{})
	s.DType = storedTypes(ckpt)
	s.Head = headOf(cfg, ckpt)
	if bindErr == nil {
		zero, err := zeroHead(cfg, ckpt)
		if err != nil {
			return nil, err
		}
		if zero != "" {
			s.Notes = append(s.Notes, zero)
		}
	}
	if cfg.PadTokenID != nil {
		s.Pad = fmt.Sprintf("%d", *cfg.PadTokenID)
	}
	if e != nil {
		s.describe(e, ckpt)
		s.Notes = append(s.Notes, e.notes...)
	}
	if ckpt.Base != "" {
		s.Notes = append(s.Notes, "a LoRA adapter over "+ckpt.Base+", merged when it is read")
	}
	return s, errors.Join(readErr, bindErr, encErr)
}

// inspectBase says what a checkpoint without a score head is as a base for training. The error
// stays: it is no reward model.
func inspectBase(ckpt *loader.Checkpoint, noHead error) (*Summary, error) {
	b, err := model.ResolveBase(ckpt.Config, ckpt, ckpt.SentencePooling, "")
	if err != nil {
		return nil, errors.Join(noHead, err)
	}
	cfg := b.Config
	s := &Summary{Config: cfg, Pad: "none", DType: storedTypes(ckpt),
		Head: "none: training begins with " + strings.Join(b.New, ", "), Notes: slices.Clone(ckpt.Notes)}
	if len(b.Left) > 0 {
		s.Notes = append(s.Notes, fmt.Sprintf("a reward model leaves out %s", someNames(b.Left)))
	}
	for _, name := range b.Names() {
		s.Parameters += loader.Elements(b, name)
	}
	if cfg.PadTokenID != nil {
		s.Pad = fmt.Sprintf("%d", *cfg.PadTokenID)
	}
	readErr := readAs(cfg, ckpt.Config, Config{})
	e, err := newEncoder(ckpt, cfg, Config{})
	if e != nil {
		s.describe(e, ckpt)
		s.Notes = append(s.Notes, e.notes...)
	}
	return s, errors.Join(noHead, readErr, err)
}

// someNames lists a few names.
func someNames(names []string) string {
	const most = 4
	out := strings.Join(names[:min(most, len(names))], ", ")
	if n := len(names) - most; n > 0 {
		out += fmt.Sprintf(" and %d more", n)
	}
	return out
}

func (s *Summary) describe(e *Encoder, ckpt *loader.Checkpoint) {
	s.Pooling = e.Pooling.Words()
	if !e.causal {
		s.Pooling = "first (pooler)"
	}
	if e.config.NoPooler {
		s.Pooling = "the first, as the encoder leaves it"
	}
	if e.config.Averages() {
		s.Pooling = "the mean of all"
	}
	s.Ending = e.endingWords()
	if e.Tokenizer == nil {
		s.Tokenizer, s.Special, s.Template = "none: only input_ids can be scored", "unknown", "none"
		return
	}
	s.Tokenizer = fmt.Sprintf("%d tokens", e.Tokenizer.VocabSize())
	var around [2][]int32 // before and behind a text
	side := 0
	for _, x := range e.Tokenizer.Single() {
		if x.Text == 0 {
			side = 1
		}
		around[side] = append(around[side], x.IDs...)
	}
	s.Special = fmt.Sprintf("%s in front of a text, %s behind it", e.words(around[0]), e.words(around[1]))
	if e.DoubleBOS {
		s.Special += "; before a template's text, too, and two BOS stay"
	}
	s.Template = "none: prompt and response are joined as they are"
	if e.Template != nil {
		s.Template = s.render(e)
	}
	pad := e.config.PadTokenID
	if pad == nil {
		return
	}
	special, err := chat.SpecialTokens(ckpt.TokenizerConfig, ckpt.SpecialTokensMap)
	if err != nil {
		return // an error of newEncoder already
	}
	if id, ok := e.Tokenizer.ID(special["eos_token"]); ok && id == *pad && e.causal &&
		e.Pooling == model.PoolHF {
		s.Notes = append(s.Notes,
			fmt.Sprintf("the padding token is the end-of-text token %q: with pooling hf a text that ends with it is scored at the token before", special["eos_token"]))
	}
}

// render shows what the template makes of one exchange.
func (s *Summary) render(e *Encoder) string {
	t, err := e.conversation([]chat.Message{chat.NewMessage("user", "Q"),
		chat.NewMessage("assistant", "A")}, EncodeOptions{})
	if err != nil {
		s.Notes = append(s.Notes, fmt.Sprintf("the chat template refuses a plain exchange: %v", err))
		return "yes"
	}
	return fmt.Sprintf("user Q, assistant A becomes %+q", t.text)
}

// words names tokens for people.
func (e *Encoder) words(ids []int32) string {
	if len(ids) == 0 {
		return "nothing"
	}
	var out []string
	for _, id := range ids {
		t, _ := e.Tokenizer.Token(id)
		out = append(out, fmt.Sprintf("%s (%d)", t, id))
	}
	return strings.Join(out, " ")
}

// endingWords says how a conversation's text ends, "" for what its template says.
func (e *Encoder) endingWords() string {
	if e.Tokenizer == nil {
		return "" // no text is read
	}
	switch e.Ending {
	case model.EndEOS:
		return fmt.Sprintf("%s: with %q, which is put behind what does not end with it", e.Ending, e.eos)
	case model.EndOpenRLHF:
		return fmt.Sprintf("%s: newlines at the end go, and a space and %q are put behind what does not end with that", e.Ending, e.eos)
	}
	return ""
}

func storedTypes(c *loader.Checkpoint) string {
	var types []string
	for _, n := range c.Names() {
		if t := c.DType(n); !slices.Contains(types, t) {
			types = append(types, t)
		}
	}
	slices.Sort(types)
	return strings.Join(types, " and ")
}

func headOf(cfg *model.Config, c *loader.Checkpoint) string {
	name := cfg.HeadTensors()[0]
	if shape, ok := c.Shape(name); ok {
		return fmt.Sprintf("%s %v%s", name, shape, cfg.HeadWords())
	}
	return "MISSING"
}

// averageWords says what an average was made of.
func averageWords(record []byte) ([]string, error) {
	if record == nil {
		return nil, nil
	}
	r, err := warm.ParseRecord(record)
	if err != nil {
		return nil, jsonerr.WrongType(err)
	}
	out := []string{fmt.Sprintf("%d members, alpha %v", len(r.Members), r.Alpha)}
	add := func(m warm.RecordMember, what string) {
		out = append(out, fmt.Sprintf("%s%.4g × %s (%.19s…)", what, m.Weight, m.Name, m.Hash))
	}
	for _, m := range r.Members {
		add(m, "")
	}
	if r.Base != nil {
		add(*r.Base, "base: ")
	}
	if len(r.Ignored) > 0 {
		out = append(out, "differences ignored: "+strings.Join(r.Ignored, ", "))
	}
	return out, nil
}

// zeroHead says that a score head is all zero, and "" for any other.
func zeroHead(cfg *model.Config, src model.Source) (string, error) {
	if cfg.Scoring != nil {
		return "", nil // whose reward is made of more
	}
	names := cfg.HeadTensors()
	shape, ok := src.Shape(names[0])
	if !ok || len(shape) != 2 {
		return "", nil // which Load refuses
	}
	values := make([]float32, shape[0]*shape[1])
	if err := src.ReadAt(values, names[0], 0); err != nil {
		return "", err
	}
	if slices.ContainsFunc(values, func(v float32) bool { return v != 0 }) {
		return "", nil
	}
	bias := make([]float32, 1)
	if len(names) > 1 {
		if err := src.ReadAt(bias, names[1], 0); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%s is all zero, as an untrained head is: every reward is %v", names[0], bias[0]), nil
}
