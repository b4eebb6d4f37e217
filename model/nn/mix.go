package nn

// Mix derives a key from another and a number, such as a step's or a layer's.
func Mix(key, n uint64) uint64 { return Scramble(key + (n+1)*0x9e3779b97f4a7c15) }

// Scramble is the output function of splitmix64. Source: Steele et al. 2014.
func Scramble(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Uniform turns a word of Mix into a number in [0, 1).
func Uniform(r uint64) float64 { return float64(r>>11) / (1 << 53) }

// Permutation returns an order of n things that a seed decides.
func Permutation(n int, seed uint64) []int {
	p := make([]int, n)
	for i := range p { // Durstenfeld's shuffle, inside out
		j := int(Mix(seed, uint64(i)) % uint64(i+1))
		p[i], p[j] = p[j], i
	}
	return p
}
