package loader

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/warmserve/warmserve/loader/safetensors"
)

// Errors about what tensors hold.
var (
	// ErrNotFinite is returned for a weight that is NaN or infinite, or that the stored type would make so.
	ErrNotFinite = errors.New("not a finite number")
	// ErrQuantised is returned for weights that were quantised.
	ErrQuantised = errors.New("the weights are quantised, and a reward is computed from whole ones; " +
		"save them whole: AutoModelForSequenceClassification.from_pretrained(dir).dequantize().save_pretrained(out)")
	// ErrUngathered is returned for tensors without elements in place of weights.
	ErrUngathered = errors.New("empty, as DeepSpeed ZeRO-3 writes weights that were not gathered; use its zero_to_fp32.py, " +
		"or train with stage3_gather_16bit_weights_on_model_save")
)

// quantisedSuffixes end the names of tensors that only quantised models have, by the method.
var quantisedSuffixes = []struct{ suffix, method string }{
	{".absmax", "bitsandbytes, 4 bits"}, {".quant_map", "bitsandbytes, 4 bits"},
	{".SCB", "bitsandbytes, 8 bits"},
	{".qweight", "GPTQ or AWQ"}, {".qzeros", "GPTQ or AWQ"}, {".weight_packed", "compressed-tensors"},
	{".weight_scale", "FP8 or INT8"}, {".weight_scale_inv", "FP8"}, {"_blocks", "MXFP4"},
}

// checkWeights refuses tensors that are not the weights that their names promise: quantised, or empty.
func (c *Checkpoint) checkWeights() error {
	for _, name := range slices.Sorted(slices.Values(c.names)) {
		t := c.tensors[name].tensor
		method := ""
		for _, q := range quantisedSuffixes {
			if strings.HasSuffix(name, q.suffix) && (q.suffix[0] == '.' || !t.DType.Float()) {
				method = q.method
			}
		}
		if !t.DType.Float() && t.DType.Bits() <= 8 && t.DType != "BOOL" &&
			strings.HasSuffix(name, ".weight") && method == "" {
			method = "as " + string(t.DType)
		}
		if method != "" {
			return fmt.Errorf("tensor %q (%s): %w", name, c.quantMethod(method), ErrQuantised)
		}
	}
	return ungathered(c.names, func(name string) *safetensors.Tensor { return c.tensors[name].tensor })
}

// quantMethod returns the method that config.json names, else the one that the tensors suggest.
func (c *Checkpoint) quantMethod(otherwise string) string {
	var config struct {
		Quantization struct {
			Method string `json:"quant_method"`
		} `json:"quantization_config"`
	}
	if json.Unmarshal(c.Config, &config) == nil && config.Quantization.Method != "" {
		return config.Quantization.Method
	}
	return otherwise
}

func ungathered(names []string, tensor func(name string) *safetensors.Tensor) error {
	var empty []string
	for _, name := range names {
		if t := tensor(name); t.DType.Float() && len(t.Shape) == 1 && t.Shape[0] == 0 {
			empty = append(empty, name)
		}
	}
	if len(empty) == 0 {
		return nil
	}
	return fmt.Errorf("tensor %q and %d more: shape [0]: %w", slices.Min(empty), len(empty)-1, ErrUngathered)
}

// block is how many values are looked at or written at a time: 256 KiB stay in the second-level cache between
// reading, looking and encoding.
const block = 1 << 16

// exponent is what is set entirely in the bits of a NaN or an infinity.
const exponent = 0x7f800000

// maxBF16 is the bits of the first float32 that rounds to an infinite bfloat16.
const maxBF16 = 0x7f7f8000

// notBelow returns the index of the first value whose magnitude has bits of limit or more, -1 when
// there is none. All NaNs and infinities have at least those of exponent.
func notBelow(x []float32, limit uint32) int {
	// No branch and four chains, so that the common case costs a small part of hashing the same bytes. The
	// subtraction borrows, which sets the highest bit, where a magnitude is at least the limit.
	var a, b, c, d uint32
	rest := x
	for ; len(rest) >= 4; rest = rest[4:] {
		a |= limit - 1 - math.Float32bits(rest[0])&0x7fffffff
		b |= limit - 1 - math.Float32bits(rest[1])&0x7fffffff
		c |= limit - 1 - math.Float32bits(rest[2])&0x7fffffff
		d |= limit - 1 - math.Float32bits(rest[3])&0x7fffffff
	}
	for _, v := range rest {
		a |= limit - 1 - math.Float32bits(v)&0x7fffffff
	}
	if (a|b|c|d)>>31 == 0 {
		return -1
	}
	return slices.IndexFunc(x, func(v float32) bool { return math.Float32bits(v)&0x7fffffff >= limit })
}

// checkValues returns an error for the first of some values, the elements from at on, that cannot be stored.
func checkValues(at int, values []float32, dtype safetensors.DType) error {
	limit := uint32(exponent)
	if dtype == safetensors.BF16 {
		limit = maxBF16
	}
	i := notBelow(values, limit)
	if i < 0 {
		return nil
	}
	if math.Float32bits(values[i])&exponent != exponent {
		return fmt.Errorf("element %d is %v, infinite in bfloat16: %w", at+i, values[i], ErrNotFinite)
	}
	return fmt.Errorf("element %d is %v: %w", at+i, values[i], ErrNotFinite)
}

// CheckFinite reads all floating tensors of a source and returns an error that names the first NaN
// or infinity of each tensor that has one, for at most eight tensors. seen, unless it is nil, is
// told how many values were read, from several goroutines.
func CheckFinite(src Source, seen func(values int)) error {
	const most, workers = 8, 4
	names := src.Names()
	found := make([]error, len(names))
	dtypes, _ := src.(interface{ DType(name string) string })
	releaser, _ := src.(Releaser)
	var next, bad atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			buf := make([]float32, block)
			for i := next.Add(1) - 1; int(i) < len(names) && bad.Load() < most; i = next.Add(1) - 1 {
				name := names[i]
				if dtypes != nil && !safetensors.DType(dtypes.DType(name)).Float() {
					continue
				}
				if found[i] = checkTensor(src, name, buf, seen); found[i] != nil {
					bad.Add(1)
				}
				if releaser != nil {
					releaser.Release(name)
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(found...)
}

func checkTensor(src Source, name string, buf []float32, seen func(values int)) error {
	total := Elements(src, name)
	for at := 0; at < total; at += len(buf) {
		part := buf[:min(len(buf), total-at)]
		if err := src.ReadAt(part, name, at); err != nil {
			return err
		}
		if err := checkValues(at, part, safetensors.F32); err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
		if seen != nil {
			seen(len(part))
		}
	}
	return nil
}

// Elements returns how many values a tensor of an open checkpoint has, whose size was checked
// when it was opened, or of another source of that kind.
func Elements(src interface {
	Shape(name string) (shape []int, ok bool)
}, name string) int {
	n := 1
	shape, _ := src.Shape(name)
	for _, d := range shape {
		n *= d
	}
	return n
}
