package loader

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/loader/safetensors"
)

// merging puts an adapter's tensors over those of its base.
type merging struct {
	config     *adapterConfig
	base       *Checkpoint
	file       *safetensors.File
	out        map[string]located
	pairs      map[string]*lowRank // by module
	stacks     []string            // modules of experts that are changed
	baseType   string              // model_type of the base
	classifier bool                // the result has a score head, of the adapter or of the base
	replaced   int                 // tensors that the adapter has in place of the base's
	vocabulary int                 // rows of a replaced embedding, 0 where none was
	notes      []string
	wrong      []string
}

func (m *merging) bad(format string, args ...any) {
	m.wrong = append(m.wrong, fmt.Sprintf(format, args...))
}

func (m *merging) note(format string, args ...any) {
	m.notes = append(m.notes, fmt.Sprintf(format, args...))
}

// run fills out, or names everything that does not fit.
func (m *merging) run() error {
	names := make([]string, len(m.file.Tensors))
	m.classifier = m.config.Task == taskClassifier || strings.HasSuffix(m.config.Class, classifierSuffix)
	for i := range m.file.Tensors {
		names[i] = adapterName(m.file.Tensors[i].Name)
		m.classifier = m.classifier || isScore(moduleOf(names[i]))
	}
	if err := ungathered(names,
		func(name string) *safetensors.Tensor { return &m.file.Tensors[slices.Index(names, name)] }); err != nil {
		return err
	}
	maps.Copy(m.out, m.base.tensors)
	if m.classifier {
		for _, head := range languageHeads {
			delete(m.out, head)
		}
	}
	seen := map[string]*safetensors.Tensor{}
	for i := range m.file.Tensors {
		t := &m.file.Tensors[i]
		if strings.Contains(t.Name, originalInfix) {
			continue // what modules_to_save replaces, which PEFT writes beside the replacement of a resized embedding
		}
		if before := seen[names[i]]; before == nil {
			m.add(t, names[i])
		} else if err := m.same(before, t); err != nil {
			return err
		}
		seen[names[i]] = t
	}
	m.changeExperts()
	for _, module := range sortedKeys(m.pairs) {
		m.change(module, m.pairs[module])
	}
	m.complete()
	if len(m.wrong) > 0 {
		return errors.New(strings.Join(m.wrong, "; "))
	}
	return nil
}

// same looks at a tensor that is there under two names, as PEFT writes a resized embedding.
func (m *merging) same(a, b *safetensors.Tensor) error {
	return Guard(func() error {
		if a.DType != b.DType || !bytes.Equal(a.Data, b.Data) {
			m.bad("tensors %q and %q are one by their names and differ", a.Name, b.Name)
		}
		return nil
	})
}

// originalInfix is in the name of a tensor that is replaced.
const originalInfix = ".original_module."

// languageHeads are the output layers of language models, which a classifier does not have.
var languageHeads = []string{"lm_head.weight", "embed_out.weight"}

// embeddings are the last parts of the names of modules with a row for each token; PEFT saves those
// that were resized whether modules_to_save names them or not.
var embeddings = []string{"embed_tokens", "embed_in", "word_embeddings", "wte"}

func isEmbedding(module string) bool { return slices.Contains(embeddings, lastPart(module)) }

func lastPart(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

// moduleOf returns the name of a tensor's module.
func moduleOf(tensor string) string { return tensor[:max(0, strings.LastIndexByte(tensor, '.'))] }

// adapterName returns the name of an adapter's tensor without what wrappers of training and old
// versions of PEFT put into it: "module.", the name "default" of the adapter, "modules_to_save".
func adapterName(name string) string {
	name = strings.TrimPrefix(unwrapped(name), "module.")
	parts := strings.Split(name, ".")
	for i := 0; i < len(parts); i++ {
		named := i+1 < len(parts) && parts[i+1] == "default"
		switch {
		case parts[i] == savedPart && named:
			parts = slices.Delete(parts, i, i+2)
		case parts[i] == savedPart:
			parts = slices.Delete(parts, i, i+1)
		case named && (parts[i] == "lora_A" || parts[i] == "lora_B"):
			parts = slices.Delete(parts, i+1, i+2)
		}
	}
	return strings.Join(parts, ".")
}

// add sorts one tensor of the adapter: a half of a low-rank change, or a replacement.
func (m *merging) add(t *safetensors.Tensor, name string) {
	name, ok := strings.CutPrefix(name, adapterPrefix)
	if !ok {
		m.bad("tensor %q: its name does not begin with %q", t.Name, adapterPrefix)
		return
	}
	if !t.DType.Float() {
		m.bad("tensor %q: dtype %s, want a floating one", t.Name, t.DType)
		return
	}
	half := func(module string) *lowRank {
		if m.pairs[module] == nil {
			m.pairs[module] = &lowRank{file: m.file}
		}
		return m.pairs[module]
	}
	if module, ok := strings.CutSuffix(name, lowASuffix); ok {
		half(module).a = t
		return
	}
	if module, ok := strings.CutSuffix(name, lowBSuffix); ok {
		half(module).b = t
		return
	}
	if strings.Contains(name, lowInfix) {
		m.bad("tensor %q is no matrix A or B of a linear layer", t.Name)
		return
	}
	m.replace(name, t)
}

// replace puts a tensor of the adapter in the place of the base's.
func (m *merging) replace(name string, t *safetensors.Tensor) {
	module := moduleOf(name)
	old, known := m.out[name]
	rows := isEmbedding(module) || slices.Contains(languageHeads, name)
	switch {
	case m.classifier && slices.Contains(languageHeads, name):
		m.note("the adapter's %s is left out: a reward model has none", name)
		return
	case !m.config.isWhole(module) && !isScore(module) && !rows:
		m.bad("tensor %q belongs to no module of modules_to_save", t.Name)
		return
	case !known && !isScore(module) && !rows:
		m.bad("tensor %q is not in the base, which it should replace", t.Name)
		return
	case known && !slices.Equal(old.tensor.Shape, t.Shape) && !isScore(module) &&
		!(rows && sameRows(old.tensor.Shape, t.Shape)):
		m.bad("tensor %q: shape %v, the base has %v", t.Name, t.Shape, old.tensor.Shape)
		return
	}
	if known && isEmbedding(module) && !slices.Equal(old.tensor.Shape, t.Shape) {
		m.vocabulary = t.Shape[0]
		m.note("%s has %d rows of the adapter, the base has %d: vocab_size follows", name, t.Shape[0],
			old.tensor.Shape[0])
	}
	m.replaced++
	m.out[name] = located{tensor: t, file: m.file}
}

// sameRows reports whether two shapes are those of matrices with rows of one length.
func sameRows(a, b []int) bool { return len(a) == 2 && len(b) == 2 && a[1] == b[1] }

// isScore reports whether a module is the head of a classifier, which an adapter may make anew in
// another size.
func isScore(module string) bool {
	module = strings.TrimPrefix(module, adapterPrefix)
	return module == "score" || module == "classifier"
}

// change puts a low-rank change over a matrix of the base.
func (m *merging) change(module string, l *lowRank) {
	before := len(m.wrong)
	w, known := m.base.tensors[module+".weight"]
	switch {
	case l.a == nil || l.b == nil:
		m.bad("module %q has one of lora_A and lora_B", module)
	case !known:
		m.bad("module %q is not in the base", module)
	case !m.config.isTarget(module):
		m.bad("module %q is not among the target_modules", module)
	case len(w.tensor.Shape) != 2 || len(l.a.Shape) != 2 || len(l.b.Shape) != 2:
		m.bad("module %q: shapes %v, A %v, B %v, want matrices", module, w.tensor.Shape, l.a.Shape, l.b.Shape)
	case !w.tensor.DType.Float():
		m.bad("module %q: the base is %s, want a floating type", module, w.tensor.DType)
	case m.config.isWhole(module):
		m.bad("module %q is changed and replaced", module)
	}
	if len(m.wrong) > before {
		return
	}
	if r := m.config.rank(module); float64(l.a.Shape[0]) != r || float64(l.b.Shape[1]) != r {
		m.bad("module %q: A %v and B %v, want rank %v", module, l.a.Shape, l.b.Shape, r)
		return
	}
	shape := w.tensor.Shape
	if l.factors = l.stored(); m.transposed(module) {
		shape = []int{shape[1], shape[0]}
		l.factors = transposedFactors(l.factors, l.a.Shape[1], l.b.Shape[0], l.a.Shape[0])
	}
	if l.a.Shape[1] != shape[1] || l.b.Shape[0] != shape[0] {
		m.bad("module %q: B·A of %v and %v does not fit the base's %v", module, l.b.Shape, l.a.Shape,
			w.tensor.Shape)
		return
	}
	l.rank, l.in, l.scale = l.a.Shape[0], w.tensor.Shape[1], m.config.scale(module)
	m.out[module+".weight"] = located{tensor: w.tensor, file: w.file, low: l}
}

// complete looks for targets without a change: an adapter that lost a tensor would otherwise be
// served in part. Targets that name no module of the base are usual in lists that serve many
// architectures.
func (m *merging) complete() {
	modules := m.modules()
	for _, t := range m.config.targets {
		if !slices.ContainsFunc(modules, func(module string) bool { return hasSuffixPart(module, t) }) {
			m.note("target_modules: the base has no module %q", t)
		}
	}
	for _, module := range modules {
		if m.config.narrowed || m.pairs[module] != nil || m.out[module+".weight"].file == m.file ||
			!m.config.isTarget(module) || m.classifier && slices.Contains(languageHeads, module+".weight") {
			continue
		}
		if len(m.base.tensors[module+".weight"].tensor.Shape) == 2 &&
			!(m.config.all && (isEmbedding(module) || isScore(module) ||
				slices.Contains(languageHeads, module+".weight"))) {
			m.bad("module %q is among the target_modules and has no lora_A and lora_B", module)
		}
	}
	if len(m.pairs)+len(m.stacks)+m.replaced == 0 && len(m.wrong) == 0 {
		m.bad("it changes nothing: target_modules names none of the base's modules (%s); see that base_model_name_or_path is the right one", strings.Join(kinds(modules), ", "))
	}
}

// modules returns the names of the base's modules with weights, sorted.
func (m *merging) modules() (out []string) {
	for _, name := range sortedKeys(m.base.tensors) {
		if module, ok := strings.CutSuffix(name, ".weight"); ok {
			out = append(out, module)
		}
	}
	return out
}

// kinds returns the last parts of modules' names, each once.
func kinds(modules []string) (out []string) {
	for _, m := range modules {
		if k := lastPart(m); !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	return out
}
