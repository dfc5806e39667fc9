package llm

import "time"

// packing arranges a model's weights for the kernels a piece at a time, so that no token
// waits for all of them: one piece after the other while there is nothing to answer, and
// for a part of the time between the steps of answers. It changes no bit of them. Pages of
// the cache are made likewise.
type packing struct {
	piece func() bool   // packs for some milliseconds; false: there is nothing to pack
	owed  time.Duration // is due to it, by the time that answers took
	again bool          // there may be something to pack since piece said that there is not; engine.mu guards it
}

// packShare is the part of the time of answers that packing takes: an eighth.
const packShare = 8

// mostOwed bounds what is owed, either way: steps that took long, or a process that was
// stopped for a while, decide little about later steps.
const mostOwed = 100 * time.Millisecond

// some packs a piece. What panics is not tried again.
func (p *packing) some() (more bool) {
	defer func() {
		if recover() != nil {
			more = false
		}
	}()
	return p.piece()
}

// packAgain has the loop look for what there is to pack.
func (e *engine) packAgain() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.packing.again = true
	e.wake.Signal()
}

// packIdle packs a piece while there is nothing to answer. The lock is held, but not
// meanwhile.
func (e *engine) packIdle() (more bool) {
	e.packing.again = false
	e.mu.Unlock()
	defer e.mu.Lock()
	return e.packing.some()
}

// packBetween packs a piece after a step that took so long, if it is due. Steps of prompts
// alone, which hardly gain by it, don't count.
func (e *engine) packBetween(took time.Duration) {
	p := &e.packing
	if p.owed = min(p.owed+took/packShare, mostOwed); p.owed < 0 {
		return
	}
	e.pool.Release()
	defer e.pool.Keep()
	start := time.Now()
	if p.some() {
		p.owed = max(p.owed-time.Since(start), -mostOwed)
	} else {
		p.owed = 0
	}
}
