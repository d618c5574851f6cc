package leader

// A random generator in one word: splitmix64 (Steele, Lea, Flood: "Fast
// Splittable Pseudorandom Number Generators", 2014). Its value is its state.
type random uint64

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	return mix(uint64(*r))
}

// mix makes of a number another one that looks like chance; of 0 it makes 0.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// between returns a number from lo to hi, hi excluded unless it equals lo. The
// bias of the remainder is far below what back-off needs to notice.
func (r *random) between(lo, hi int64) int64 {
	if hi <= lo {
		return lo
	}
	return lo + int64(r.next()%uint64(hi-lo))
}
