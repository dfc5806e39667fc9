package tiling

// A taper cuts a number of tiles into strips, in rounds of one for each thread: those of the
// first take half of the tiles, those of the next half of what is left, and so on. Threads
// claim chunks from both ends, so that small strips, in the middle, are the last, and one
// that was held up leaves some of them to others. With one strip for each thread they
// would wait for it; with small ones alone A and B would be read too often.
type taper struct {
	first, last int // strips of a round at the beginning and at the end
	rounds      int
}

// newTaper chooses the rounds for n tiles in strips of at least so many, except where there
// is one round.
func newTaper(n, perRound, least int) taper {
	t := taper{first: Ceil(perRound, 2), last: perRound / 2, rounds: 1}
	for n>>(t.rounds) >= perRound*least {
		t.rounds++
	}
	return t
}

// strips is how many there are.
func (t *taper) strips() int { return (t.first + t.last) * t.rounds }

// begin is the first of n tiles in strip i, n where i is the number of strips.
func (t *taper) begin(i, n int) int {
	front := n * t.first / (t.first + t.last)
	if back := t.strips() - i; back < t.last*t.rounds {
		return n - t.depth(back, t.last, n-front)
	}
	return t.depth(i, t.first, front)
}

// depth is how many of n tiles, those of an end, are in its i outermost strips, of which a
// round has so many.
func (t *taper) depth(i, ofRound, n int) int {
	round := i / ofRound
	if round == t.rounds {
		return n
	}
	parts := i % ofRound
	if round == t.rounds-1 {
		parts *= 2 // all of what is left
	}
	return n * (ofRound*(2<<round-2) + parts) / (ofRound * 2 << round)
}
