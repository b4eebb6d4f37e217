package nn

// Mix derives a key from another and a number, such as a step's or a layer's.
func Mix(key, n uint64) uint64 { return Scramble(key + (n+1)*0x9e3779b97f4a7c15) }

// Scramble is the output function of splitmix64. Source: Steele et al. 2014.
func Scramble(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
