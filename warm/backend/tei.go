package backend

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/warmserve/warmserve/model/tokenizer"
)

// tei speaks with a text-embeddings-inference server. It takes no other weights while it
// runs, and text in the place of token ids.
//
// Source: text-embeddings-inference at 0d124dc, router/src/http (/info, /predict),
// core/src/tokenization.rs.
type tei struct {
	*client
	batch atomic.Int32 // sequences of a request, as it last said
}

// start names the type, which is float16 without it, but in images for Intel's processors.
func (t *tei) start(dir string) string {
	return "text-embeddings-router --dtype float32 --model-id " + dir
}

func (t *tei) mostItems() int { return int(t.batch.Load()) }

func (t *tei) state(ctx context.Context) (state, error) {
	var info struct {
		Model   string         `json:"model_id"`
		Type    map[string]any `json:"model_type"`
		Longest int            `json:"max_input_length"`
		Batch   int            `json:"max_client_batch_size"`
	}
	if err := t.get(ctx, "/info", &info); err != nil {
		return state{}, err
	}
	t.batch.Store(int32(max(0, min(info.Batch, mostItems))))
	if _, ok := info.Type["embedding"]; ok {
		return state{}, fmt.Errorf("%w: it serves %s as a model of embeddings, not as a classifier", errReply, info.Model)
	}
	return state{name: path.Base(strings.TrimRight(info.Model, "/")), path: info.Model, longest: info.Longest}, nil
}

func (t *tei) load(context.Context, string, string) error { return errNoLoad }

func (t *tei) score(ctx context.Context, m *staged, items []item) ([][]float32, string, error) {
	texts := make([][]string, len(items))
	for i := range items {
		var err error
		if texts[i], err = textOf(m.tokenizer, &items[i]); err != nil {
			return nil, "", fmt.Errorf("%w: %w", errItem, err)
		}
	}
	var reply [][]struct {
		Score *float32 `json:"score"`
		Label string   `json:"label"`
	}
	if err := t.ask(ctx, "/predict", map[string]any{"inputs": texts, "raw_scores": true, "truncate": false},
		&reply, replyLimit(m, items)); err != nil {
		return nil, "", err
	}
	if err := enough(len(reply), items); err != nil {
		return nil, "", err
	}
	out := make([][]float32, len(items))
	for i, labels := range reply {
		row := make([]*float32, len(m.labels))
		for _, l := range labels { // the highest first
			at := slices.Index(m.labels, l.Label)
			if at < 0 || row[at] != nil {
				return nil, "", fmt.Errorf("%w: the labels are not the model's", errReply)
			}
			row[at] = l.Score
		}
		var err error
		if out[i], err = outputsOf(m, row[:min(len(row), len(labels))]); err != nil {
			return nil, "", err
		}
	}
	return out, "", nil
}

// errNoText is that of token ids that are no text's.
var errNoText = errors.New("no text has these tokens, and the engine takes text")

// textOf returns the text, or the pair of texts, of which a tokenizer makes the ids of an
// item, as its users are given them: with the special tokens around.
func textOf(t *tokenizer.Tokenizer, it *item) ([]string, error) {
	if t == nil {
		return nil, errNoText
	}
	if it.types == nil {
		if ids, ok := between(it.ids, t.Single()); ok {
			text := t.Decode(ids[0], false)
			if slices.Equal(encodeText(t, text), it.ids) {
				return []string{text}, nil
			}
		}
	}
	ids, ok := between(it.ids, t.Pair())
	if !ok || len(ids) != 2 {
		return nil, errNoText
	}
	first, second := t.Decode(ids[0], false), t.Decode(ids[1], false)
	got, types := encodePair(t, first, second)
	if !slices.Equal(got, it.ids) || it.types != nil && !slices.Equal(types, it.types) {
		return nil, errNoText
	}
	return []string{first, second}, nil
}

// between returns the ids of the texts between the special tokens of a form: where there
// are two, the first ends at the first place where the tokens between them stand.
func between(ids []int32, form []tokenizer.Segment) (texts [][]int32, ok bool) {
	for i := 0; i < len(form); i++ {
		s := form[i]
		if s.Text < 0 {
			if !beginsWith(ids, s.IDs) {
				return nil, false
			}
			ids = ids[len(s.IDs):]
			continue
		}
		var mark []int32 // all special tokens up to the next text
		last := true
		for _, next := range form[i+1:] {
			if next.Text >= 0 {
				last = false
				break
			}
			mark = append(mark, next.IDs...)
		}
		end := len(ids) - len(mark)
		if !last {
			for end = 0; end <= len(ids) && !beginsWith(ids[end:], mark); end++ {
			}
		}
		if end < 0 || end > len(ids) {
			return nil, false
		}
		texts, ids = append(texts, ids[:end]), ids[end:]
	}
	return texts, len(ids) == 0 && len(texts) > 0
}

func beginsWith(ids, with []int32) bool {
	return len(ids) >= len(with) && slices.Equal(ids[:len(with)], with)
}

func encodeText(t *tokenizer.Tokenizer, text string) []int32 {
	return t.AppendEncode(nil, text, tokenizer.Options{AddSpecial: true})
}

// encodePair returns the ids and the types of two texts.
func encodePair(t *tokenizer.Tokenizer, texts ...string) (ids, types []int32) {
	for _, s := range t.Pair() {
		own := s.IDs
		if s.Text >= 0 {
			own = t.AppendEncode(nil, texts[s.Text], tokenizer.Options{})
		}
		ids = append(ids, own...)
		types = append(types, slices.Repeat([]int32{s.TypeID}, len(own))...)
	}
	return ids, types
}
