package nn

import "math"

// Relative is disentangled attention's part that knows how far a query is from a
// key: the score of query i and key j is q·k + q·K_r + k·Q_r, where K_r and Q_r are
// projections of the row r of a table, which stands for the distance i − j.
// Source: He et al. 2020 (arXiv 2006.03654), eq. 4; transformers DebertaV2
// disentangled_attention_bias.
type Relative struct {
	Table *Embedding // 2·Span rows
	Norm  *LayerNorm // of the table's rows; nil for none
	// Key and Query project the rows. The first H·D values count: a layer of keys
	// over values serves as a layer of keys. A nil layer leaves its term out.
	Key, Query *Linear

	Span    int // rows for distances from 0 on, and for those below 0
	Buckets int // above 0 distances are gathered in so many on either side, in logarithmic steps
	Longest int // distance that the last bucket is for
}

// Row returns the row of the table for a distance.
func (r *Relative) Row(distance int) int {
	if r.Buckets > 0 {
		distance = r.bucket(distance)
	}
	return min(max(r.Span+distance, 0), 2*r.Span-1)
}

// bucket keeps distances up to half of the buckets and gathers longer ones.
// Source: transformers make_log_bucket_position.
func (r *Relative) bucket(distance int) int {
	mid := r.Buckets / 2
	far := distance
	if far < 0 {
		far = -far
	}
	if far <= mid {
		return distance
	}
	steps := math.Log(float64(far)/float64(mid)) / math.Log(float64(r.Longest-1)/float64(mid)) * float64(mid-1)
	b := int(math.Ceil(steps)) + mid
	if distance < 0 {
		return -b
	}
	return b
}
