package llm

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/salver-ml/salver/internal/textgen"
)

// Packing gets its share of the time in which answers are generated, and none of that
// of prompts.
func TestPackingShare(t *testing.T) { synctest.Test(t, testPackingShare) }

func testPackingShare(t *testing.T) {
	var spent time.Duration
	e := &engine{packing: packing{piece: func() bool { time.Sleep(4 * time.Millisecond); spent += 4 * time.Millisecond; return true }}}
	p := &e.packing
	q := &sequence{request: &request{Request: &textgen.Request{}}, tokens: make([]int32, 9), prompt: 8}
	const step = 8 * time.Millisecond
	e.step = []work{{q, 8}}
	for range 9 {
		e.packBetween(step)
	}
	if spent > 0 {
		t.Errorf("steps of a prompt were followed by %v of packing", spent)
	}
	q.computed = 8
	e.step[0].n = 1
	for range 32 {
		e.packBetween(step)
	}
	if all := 32 * step / packShare; spent < all/2 || spent > all+4*time.Millisecond {
		t.Errorf("%v of packing between 32 steps of %v, expected about %v", spent, step, all)
	}
	done := 0
	p.owed, p.piece = 0, func() bool { time.Sleep(mostOwed * 3 / 2); done++; return true } // as if stopped meanwhile
	for range int(mostOwed*packShare/step) * 5 / 4 {
		if e.packBetween(step); done == 2 {
			break
		}
	}
	if done < 2 {
		t.Errorf("after a part that took %v the next one waits longer than for %v", mostOwed*3/2, mostOwed)
	}
	p.owed, p.piece = 0, func() bool { return true }
	if e.packBetween(time.Hour); p.owed > mostOwed {
		t.Errorf("%v are owed after a step of an hour", p.owed)
	}
	p.piece = func() bool { return false }
	e.packBetween(time.Hour)
	if e.packBetween(step); p.owed != 0 {
		t.Errorf("where nothing is to be packed, %v are owed", p.owed)
	}
}
