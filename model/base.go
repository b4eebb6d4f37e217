package model

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/model/binding"
	"github.com/warmserve/warmserve/model/nn"
)

// ErrNoHead is wrapped by the error for a checkpoint whose body is known and that has no score head.
var ErrNoHead = errors.New("a base for training, no reward model: it has no score head; warm train rm --base DIR gives it one")

// Base is the reward model that training begins with where a checkpoint is a body without a score
// head: the body under its class's own names, and the head's layers as they begin. It is a
// [Source].
type Base struct {
	Config  *Config  // of the reward model
	New     []string // parameters that the checkpoint does not have
	Pooling Pooling  // that the head was told to have; "" for the class's own
	Inside  bool     // the body is the text_config of a configuration
	Left    []string // tensors of the checkpoint that the reward model does without

	params map[string]nn.Param
	names  []string
	src    Source
	prefix *string // of the body's names in src

	language bool // the checkpoint's class is the language model's of this body
}

// ResolveBase reads config.json together with the tensors of a body without a score head: a
// language model, an encoder that was trained without one, or either saved alone. sentences is the
// 1_Pooling/config.json of sentence-transformers, nil where there is none: the head reads what it
// names, and of an encoder nothing between. pooling, one of [BasePoolings], says otherwise.
func ResolveBase(data []byte, src Source, sentences []byte, pooling string) (*Base, error) {
	raw, err := decodeConfig(data)
	if err != nil {
		return nil, err
	}
	class := raw.bodyClass()
	a, ok := architectures[class]
	if !ok {
		return nil, raw.unsupported()
	}
	raw.ID2Label, raw.HeadPrefix = map[string]string{"0": "LABEL_0"}, ""
	read, told, err := basePooling(sentences, pooling, a.encoder)
	if err != nil {
		return nil, err
	}
	if told {
		raw.Own = rawOwn{Pooling: string(read), Pooler: new(false)}
	}
	prefix := a.findPrefix(src)
	if shape, ok := src.Shape(a.named(a.embedding, prefix)); ok && len(shape) == 2 && raw.VocabSize != nil {
		raw.VocabSize = &shape[0]
	}
	b := &Base{params: map[string]nn.Param{}, prefix: prefix}
	if b.Config, err = raw.config(class); err != nil {
		return nil, err
	}
	b.src = b.Config.tensorsOf(src, prefix)
	b.Pooling, b.Config.Reading.Pooling = read, read
	if read == PoolMean && !a.encoder {
		b.Config.Mean = true
	}
	n := b.Config.Network()
	if len(raw.Architectures) == 1 {
		classifier, _ := ClassifierOf(raw.Architectures[0])
		b.language = classifier == class
	}
	b.Inside, b.Config.Inside = b.Config.Inside, false
	return b, b.bind(a, n)
}

// bodyClass returns the class of the reward models that have the body of a configuration's class.
func (raw *rawConfig) bodyClass() string {
	if len(raw.Architectures) == 1 {
		if _, ok := architectures[raw.Architectures[0]]; ok {
			return raw.Architectures[0]
		}
		if class, _ := ClassifierOf(raw.Architectures[0]); architectures[class].new != nil {
			return class
		}
	}
	return classOf(raw.ModelType)
}

// noHead is the error for a configuration of a known body without a score head.
func (raw *rawConfig) noHead() error {
	return fmt.Errorf("config.json: architectures %s, model_type %q: %w; or head names what it is read by, as in lm_head[0]", orNone(raw.Architectures), raw.ModelType, ErrNoHead)
}

// bind sorts the tensors into those of the body, those that the reward model begins with new, and
// those that were for something else. The body must be whole, and what lies in it known.
func (b *Base) bind(a architecture, n *nn.Network) error {
	e := BindingError{Architecture: b.Config.Architecture}
	known := map[string]bool{}
	for _, p := range n.Params() {
		b.names, b.params[p.Name] = append(b.names, p.Name), p
		name := b.inSource(p.Name)
		known[name] = true
		switch shape, ok := b.src.Shape(name); {
		case ok && !slices.Equal(shape, p.Shape):
			e.Shapes = append(e.Shapes, fmt.Sprintf("%s: shape %v, want %v", name, shape, p.Shape))
		case ok:
		case strings.HasPrefix(p.Name, a.ownPrefix()) && !strings.Contains(p.Name, ".pooler."):
			e.Missing = append(e.Missing, name)
		default:
			b.New = append(b.New, p.Name)
		}
	}
	within := a.named(a.ownPrefix(), b.prefix)
	for _, name := range b.src.Names() {
		switch {
		case known[name]:
		case n.LeavesOut(name), isOutput(name), within != "" && !strings.HasPrefix(name, within),
			strings.Contains("."+name, ".pooler."):
			b.Left = append(b.Left, name)
		case !binding.IsBuffer(name):
			e.Unknown = append(e.Unknown, name)
		}
	}
	if len(e.Missing)+len(e.Unknown)+len(e.Shapes) > 0 {
		return &e
	}
	slices.Sort(b.names)
	return nil
}

// outputs begin the names of what bodies were trained with in place of a score head.
var outputs = []string{"lm_head.", "embed_out.", "cls.", "predictions.", "vocab_transform.",
	"vocab_layer_norm.", "vocab_projector.", "generator_predictions.",
	"generator_lm_head.", "discriminator_predictions.", "lm_predictions.", "mask_predictions.",
	"decoder.", "qa_outputs."}

func isOutput(name string) bool {
	return slices.ContainsFunc(outputs, func(o string) bool { return strings.HasPrefix(name, o) })
}

// Language reports whether the checkpoint's class is a language model's.
func (b *Base) Language() bool { return b.language }

// Plain reports whether the reward model is a language model's checkpoint and a score head beside
// it: no name is another, and no other layer is new.
func (b *Base) Plain() bool {
	_, divided := b.src.(*stacked)
	return b.language && b.prefix == nil && !b.Inside && !divided
}

// inSource returns the checkpoint's name of a parameter.
func (b *Base) inSource(name string) string {
	return architectures[b.Config.Architecture].named(name, b.prefix)
}

// Names implements [Source].
func (b *Base) Names() []string { return b.names }

// Shape implements [Source].
func (b *Base) Shape(name string) ([]int, bool) {
	p, ok := b.params[name]
	return p.Shape, ok
}

// spread is the standard deviation of new matrices, initializer_range of most classes.
const spread = 0.02

// ReadAt implements [Source]. The score head begins as zeros, as do biases; norms begin as ones,
// and matrices before the head with random values that its name alone decides, so that all who
// begin with a body begin alike.
func (b *Base) ReadAt(dst []float32, name string, offset int) error {
	p := b.params[name]
	if !slices.Contains(b.New, name) {
		return b.src.ReadAt(dst, b.inSource(name), offset)
	}
	clear(dst)
	switch head := b.Config.HeadTensors(); {
	case slices.Contains(head, name), !strings.HasSuffix(name, ".weight"):
	case len(p.Shape) == 1:
		for i := range dst {
			dst[i] = 1
		}
	default:
		h := fnv.New64a()
		h.Write([]byte(name))
		for i := range dst {
			dst[i] = spread * float32(normal(h.Sum64(), uint64(offset+i)))
		}
	}
	return nil
}

// normal returns the i-th of independent normal values, by the transformation of Box and Muller.
func normal(key, i uint64) float64 {
	uniform := func(j uint64) float64 { return (float64(nn.Mix(key, j)>>11) + 0.5) / (1 << 53) }
	return math.Sqrt(-2*math.Log(uniform(2*i))) * math.Cos(2*math.Pi*uniform(2*i+1))
}

// Release passes on that a tensor is not needed for now.
func (b *Base) Release(name string) {
	if r, ok := b.src.(interface{ Release(name string) }); ok && !slices.Contains(b.New, name) {
		r.Release(b.inSource(name))
	}
}
