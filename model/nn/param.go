package nn

import (
	"fmt"
	"reflect"
	"strings"
)

// Param is one tensor of a checkpoint.
type Param struct {
	Name  string // the checkpoint's name
	Shape []int  // as the checkpoint stores it
	// Transposed says that it is [in, out] of a layer that is [out, in] else.
	Transposed bool
	// Rows are the rows of the checkpoint's tensor that it is, where that has more;
	// nil for all. It may be a part of another parameter's tensor.
	Rows []int

	// Data and Grad are the values in row-major order and their gradient, while a
	// model is trained; else nil.
	Data, Grad []float32
}

// RowLen returns the number of values in a row, an index of the first dimension.
func (p *Param) RowLen() int {
	n := 1
	for _, d := range p.Shape[1:] {
		n *= d
	}
	return n
}

// Len returns the number of values.
func (p *Param) Len() int { return p.Shape[0] * p.RowLen() }

// Module is a layer with weights of its own. It knows their names and shapes, not
// where or how they are kept: that is the executor's.
type Module interface {
	// Params returns the weights under the given names: a layer that stacks
	// several tensors of the checkpoint, as keys over values, takes several.
	Params(names []string) []Param
}

// Modules walks the struct that v points to and calls f for every layer in a
// field with a `weight:"name"` tag, in the order of the fields, with the names
// that the tag lists, divided by commas. Structs nest, their names joined by a
// dot, and the elements of a slice are numbered. A nil pointer is a weight that
// the model does not have.
func Modules(v any, f func(names []string, m Module)) {
	walk("", reflect.ValueOf(v).Elem(), f)
}

func walk(prefix string, v reflect.Value, f func([]string, Module)) {
	for i := range v.NumField() {
		tag, ok := v.Type().Field(i).Tag.Lookup("weight")
		if !ok {
			continue
		}
		names := strings.Split(tag, ",")
		for j, n := range names {
			names[j] = join(prefix, n)
		}
		visit(names, v.Field(i), f)
	}
}

func visit(names []string, v reflect.Value, f func([]string, Module)) {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return
		}
		v = v.Elem()
	}
	if at := v.Addr(); at.CanInterface() { // not an embedded struct
		if m, ok := at.Interface().(Module); ok {
			f(names, m)
			return
		}
	}
	switch v.Kind() {
	case reflect.Struct:
		walk(names[0], v, f)
	case reflect.Slice:
		for i := range v.Len() {
			visit([]string{join(names[0], fmt.Sprint(i))}, v.Index(i), f)
		}
	default:
		panic(fmt.Sprintf("nn: field %v of type %v has a weight tag, want a Module, a struct or a slice", names, v.Type()))
	}
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "." + b
}

// wantNames panics unless a layer is given as many names as it has tensors.
func wantNames(layer string, names []string, n int) {
	if len(names) != n {
		panic(fmt.Sprintf("nn: %s: %d names %v for %d stacked tensors", layer, len(names), names, n))
	}
}
