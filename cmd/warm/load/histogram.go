package load

import (
	"math/bits"
	"time"
)

// subBuckets is how many buckets a power of two has: a quantile is at most
// 1/64 above the truth.
const (
	subBits    = 6
	subBuckets = 1 << subBits
)

// histogram counts durations, in buckets that grow with them. The largest is kept.
type histogram struct {
	counts [(40 - subBits + 1) * subBuckets]uint64 // microseconds up to 2^40, 12 days
	n      uint64
	sum    time.Duration
	top    time.Duration
}

func bucketOf(micros uint64) int {
	if micros < subBuckets {
		return int(micros)
	}
	shift := bits.Len64(micros) - 1 - subBits
	return (shift+1)*subBuckets + int(micros>>shift) - subBuckets
}

// upper returns the largest number of microseconds in a bucket.
func upper(bucket int) uint64 {
	if bucket < subBuckets {
		return uint64(bucket)
	}
	shift := bucket/subBuckets - 1
	return (uint64(bucket%subBuckets+subBuckets)+1)<<shift - 1
}

func (h *histogram) add(d time.Duration) {
	d = max(0, d)
	h.counts[min(bucketOf(uint64(d.Microseconds())), len(h.counts)-1)]++
	h.n++
	h.sum += d
	h.top = max(h.top, d)
}

// quantile returns the duration that the share q of all do not exceed; 0 when
// there are none.
func (h *histogram) quantile(q float64) time.Duration {
	want, seen := uint64(q*float64(h.n)+0.999999), uint64(0)
	for i, c := range h.counts {
		if seen += c; c > 0 && seen >= want {
			return min(h.top, time.Duration(upper(i))*time.Microsecond)
		}
	}
	return h.top
}

// Latency is a distribution of times, in milliseconds.
type Latency struct {
	Count uint64  `json:"count"`
	Mean  float64 `json:"mean_ms"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p999_ms"`
	Max   float64 `json:"max_ms"`
}

func (h *histogram) latency() Latency {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	l := Latency{Count: h.n, P50: ms(h.quantile(0.5)), P90: ms(h.quantile(0.9)),
		P99: ms(h.quantile(0.99)), P999: ms(h.quantile(0.999)), Max: ms(h.top)}
	if h.n > 0 {
		l.Mean = ms(h.sum / time.Duration(h.n))
	}
	return l
}
