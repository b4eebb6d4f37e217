package torchfile

import (
	"fmt"

	"github.com/warmserve/warmserve/loader/safetensors"
)

// The functions and types that a pickle may name beside the classes of storages.
const (
	orderedDict      = global("collections.OrderedDict")
	rebuildTensor    = global("torch._utils._rebuild_tensor_v2")
	rebuildParameter = global("torch._utils._rebuild_parameter")
)

// storageTypes are the classes of storages with the type of their elements.
var storageTypes = map[global]safetensors.DType{
	"torch.FloatStorage": safetensors.F32, "torch.HalfStorage": safetensors.F16,
	"torch.BFloat16Storage": safetensors.BF16, "torch.DoubleStorage": safetensors.F64,
	"torch.LongStorage": "I64", "torch.IntStorage": "I32", "torch.ShortStorage": "I16",
	"torch.CharStorage": "I8", "torch.ByteStorage": "U8", "torch.BoolStorage": "BOOL",
}

// maxName bounds what a message repeats of a name in the file.
const maxName = 100

// stackGlobal is global of a module and a name on the stack.
func (m *machine) stackGlobal() {
	parts := m.popN(2)
	module, ok := parts[0].(string)
	name, isName := parts[1].(string)
	if !ok || !isName {
		m.bad("the name of a function is %s and %s", kindOf(parts[0]), kindOf(parts[1]))
		return
	}
	m.global(module, name)
}

// global pushes the name of a function or type, if it is one that a tensor is made of.
func (m *machine) global(module, function string) {
	name := global(module + "." + function)
	_, ok := storageTypes[name]
	if !ok && name != orderedDict && name != rebuildTensor && name != rebuildParameter {
		m.fail(fmt.Errorf("%s asks to call %.*q: %w; only tensors are read from it, of floats, integers and booleans, and nothing in it is run. "+
			"Where it is trusted, write it as safetensors: model.save_pretrained(out)", m.name, maxName,
			string(name), ErrCall))
	}
	m.push(name)
}

// persistent puts a storage in the place of its description:
// ("storage", class, key, device, elements), in old files with a view behind it, which is none.
func (m *machine) persistent() {
	id, ok := m.pop().(tuple)
	if !ok || len(id) < 5 || len(id) > 6 || id[0] != any("storage") {
		m.bad("a reference to something else than a storage")
		return
	}
	class, isClass := id[1].(global)
	dtype, known := storageTypes[class]
	key, isKey := id[2].(string)
	n, isNumber := id[4].(int64)
	s := m.storages[key]
	switch {
	case !isClass || !known || !isKey || !isNumber:
		m.bad("a storage of %s, key %s, elements %s", kindOf(id[1]), kindOf(id[2]), kindOf(id[4]))
	case n < 0 || n > maxElements:
		m.fail(fmt.Errorf("%w %.*q: %d elements", ErrStorage, maxName, key, n))
	case len(id) == 6 && id[5] != nil:
		m.bad("a storage that is a view of another, as torch 0.3 wrote it")
	case s == nil:
		s = &storage{dtype: dtype, elements: int(n)}
		m.storages[key] = s
	case s.dtype != dtype || s.elements != int(n):
		m.fail(fmt.Errorf("%w %.*q: %d elements of %s, and %d of %s", ErrStorage, maxName, key,
			s.elements, s.dtype, n, dtype))
	}
	m.push(s)
}

// reduce calls a function of the allow-list.
func (m *machine) reduce() {
	call := m.popN(2)
	name, isName := call[0].(global)
	args, ok := call[1].(tuple)
	if !ok || !isName {
		m.bad("a call of %s with %s", kindOf(call[0]), kindOf(call[1]))
		return
	}
	switch {
	case name == orderedDict && len(args) == 0:
		m.push(&dict{})
		return
	case name == rebuildTensor && (len(args) == 6 || len(args) == 7):
		m.rebuild(args)
		return
	case name == rebuildParameter && len(args) == 3:
		if v, ok := args[0].(*view); ok {
			m.push(v)
			return
		}
	}
	m.bad("a call of %s with %d arguments that torch does not write", name, len(args))
}

// rebuild makes a tensor of (storage, offset, shape, strides, requires_grad, hooks, metadata). What
// comes behind the strides is about training, but for the metadata, which may say that the numbers
// are to be read as negative or conjugate.
func (m *machine) rebuild(args tuple) {
	v := &view{}
	var isStorage, isOffset, isShape, isStride bool
	v.storage, isStorage = args[0].(*storage)
	v.offset, isOffset = args[1].(int64)
	v.shape, isShape = integers(args[2])
	v.stride, isStride = integers(args[3])
	if !isStorage || !isOffset || !isShape || !isStride {
		m.bad("a tensor of %s, %s, %s and %s", kindOf(args[0]), kindOf(args[1]),
			kindOf(args[2]), kindOf(args[3]))
	}
	if len(args) == 7 && args[6] != nil {
		if d, ok := args[6].(*dict); !ok || len(d.keys) > 0 {
			m.bad("a tensor with metadata of its own")
		}
	}
	m.push(v)
}

func integers(v any) ([]int64, bool) {
	t, ok := v.(tuple)
	if !ok || len(t) > maxDims {
		return nil, false
	}
	out := make([]int64, len(t))
	for i := range t {
		if out[i], ok = t[i].(int64); !ok {
			return nil, false
		}
	}
	return out, true
}

// build gives a dict attributes: torch has the versions of modules there (_metadata), which are not needed.
func (m *machine) build() {
	state, top := m.pop(), m.top()
	_, isDict := top.(*dict)
	if _, ok := state.(*dict); !ok || !isDict {
		m.bad("it gives %s attributes of %s", kindOf(top), kindOf(state))
	}
}

// kindOf says what a value is, for messages.
func kindOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		return "a boolean"
	case int64, float64:
		return "a number"
	case string:
		return "a string"
	case raw:
		return "bytes"
	case tuple:
		return "a tuple"
	case *list:
		return "a list"
	case *dict:
		return "a dict"
	case *storage:
		return "a storage"
	case *view:
		return "a tensor"
	case global:
		return string(v)
	}
	return "a mark"
}
