package nn

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/warmserve/warmserve/model/kernel"
)

// Param is one tensor of a checkpoint and the place in a layer that holds it.
type Param struct {
	Name  string // the checkpoint's name
	Shape []int  // as the checkpoint stores it

	// Store takes the values of whole rows (indices of the first dimension),
	// beginning with row. Calls for rows of different groups of 64 may run at
	// the same time.
	Store func(row int, values []float32)

	// Data and Grad are the values in row-major order and their gradient, as
	// [TrainingParams] gives them; nil in a layer that serves. Whoever changes
	// Data calls Refresh of the layer.
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

// Module is a layer with weights of its own. A new layer knows its shapes but
// has no memory, so that a checkpoint can be compared with a model before
// anything is allocated.
type Module interface {
	// Params returns the weights under the given names: a layer that stacks
	// several tensors of the checkpoint, as keys over values, takes several.
	Params(names []string) []Param
	// Alloc gives the layer zero weights. Matrices that products read are
	// stored in the number format d, everything else in float32.
	Alloc(d kernel.DType)
	// Bytes returns the memory of the weights.
	Bytes() int
}

// Modules walks the struct that v points to and calls f for every layer in a
// field with a `weight:"name"` tag, in the order of the fields, with the names
// that the tag lists, divided by commas. Structs nest, their names joined by a
// dot, and the elements of a slice are numbered. A nil pointer is a weight that
// the model does not have.
func Modules(v any, f func(names []string, m Module)) {
	walk("", reflect.ValueOf(v).Elem(), f)
}

// Params returns the parameters of all layers of the struct that v points to.
func Params(v any) []Param {
	var out []Param
	Modules(v, func(names []string, m Module) { out = append(out, m.Params(names)...) })
	return out
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
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return
		}
		v = v.Elem()
	}
	if m, ok := v.Addr().Interface().(Module); ok {
		f(names, m)
		return
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

// vector returns the parameter of n values kept as they are; data is looked up
// when values arrive, after Alloc.
func vector(name string, n int, data func() []float32) Param {
	return Param{Name: name, Shape: []int{n}, Store: func(row int, values []float32) { copy(data()[row:], values) }}
}
