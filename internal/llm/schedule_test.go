package llm

import (
	"math/rand/v2"
	"sync"
	"testing"
)

// The choices that a prompt will have count as soon as it runs: a step never
// has more parts than there is room for, whatever comes between.
func TestChoicesHaveTheirPlaces(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for _, most := range []int{4, 5, 8} {
		m := newFakeModel(t)
		e := m.engine(200, 64, most)
		var wg sync.WaitGroup
		for i := range 40 {
			r := ask(randomPrompt(rng, 1+rng.IntN(100)), 1+rng.IntN(20))
			r.N = 1 + i%4
			r.Priority = i % 3
			wg.Go(func() { tokensOf(t, e, r) })
		}
		wg.Wait()
		e.close()
		if m.parts > most {
			t.Errorf("a step has %d parts, expected %d at most", m.parts, most)
		}
	}
}
