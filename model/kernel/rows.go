package kernel

// RMSNorm computes dst = x / √(mean(x²) + eps) · w for one row.
// dst may be x. Source: transformers LlamaRMSNorm.
func RMSNorm(dst, x, w []float32, eps float32) { rmsNorm(dst[:len(x)], x, w[:len(x)], eps) }

// LayerNorm computes dst = (x − mean) / √(var + eps) · w + b for one row, with
// the population variance; b may be nil. dst may be x. Source: torch LayerNorm.
func LayerNorm(dst, x, w, b []float32, eps float32) {
	if b != nil {
		b = b[:len(x)]
	}
	layerNorm(dst[:len(x)], x, w[:len(x)], b, eps)
}

// Softmax replaces s[lo:hi] by softmax(scale·s[lo:hi]) and every other element
// of s by zero. The lane of an element in the sum is its index mod 16.
func Softmax(s []float32, lo, hi int, scale float32) {
	_ = s[lo:hi]
	softmax(s, lo, hi, scale)
}

// Rotate applies the rotary position embedding in its half-split form to the
// first 2·len(cos) elements of each of the heads: (x1, x2) becomes
// (x1·cos − x2·sin, x2·cos + x1·sin), x1 and x2 being the two halves.
//
// Shapes: x is (heads, d) without gaps; cos and sin are half the rotated size.
// Source: Su et al. 2021, eq. 34; transformers apply_rotary_pos_emb.
func Rotate(x []float32, heads, d int, cos, sin []float32) {
	_ = x[:heads*d]
	_ = sin[:len(cos)]
	rotate(x, heads, d, cos, sin)
}

// AddTo computes dst += x.
func AddTo(dst, x []float32) { addTo(dst[:len(x)], x) }

// Dot returns Σ a[i]·b[i], sixteen lanes by index mod 16.
func Dot(a, b []float32) float32 { return dot(a, b[:len(a)]) }
