package llm

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/salver-ml/salver/internal/textgen"
)

// What waits gets its share of the time in which answers are generated, and none of that
// of prompts.
func TestSpareShare(t *testing.T) { synctest.Test(t, testSpareShare) }

func testSpareShare(t *testing.T) {
	var spent time.Duration
	e := &engine{spare: func() bool { time.Sleep(4 * time.Millisecond); spent += 4 * time.Millisecond; return true }}
	q := &sequence{request: &request{Request: &textgen.Request{}}, tokens: make([]int32, 9), prompt: 8}
	const step = 8 * time.Millisecond
	e.step = []work{{q, 8}}
	for range 9 {
		e.share(step)
	}
	if spent > 0 {
		t.Errorf("steps of a prompt were followed by %v of other work", spent)
	}
	q.computed = 8
	e.step[0].n = 1
	for range 32 {
		e.share(step)
	}
	if all := 32 * step / spareShare; spent < all/2 || spent > all+4*time.Millisecond {
		t.Errorf("%v of other work between 32 steps of %v, expected about %v", spent, step, all)
	}
	done := 0
	e.owed, e.spare = 0, func() bool { time.Sleep(mostOwed * 3 / 2); done++; return true } // as if stopped meanwhile
	for range int(mostOwed*spareShare/step) * 5 / 4 {
		if e.share(step); done == 2 {
			break
		}
	}
	if done < 2 {
		t.Errorf("after a part that took %v the next one waits longer than for %v", mostOwed*3/2, mostOwed)
	}
	e.owed, e.spare = 0, func() bool { return true }
	if e.share(time.Hour); e.owed > mostOwed {
		t.Errorf("%v are owed after a step of an hour", e.owed)
	}
	e.spare = func() bool { return false }
	e.share(time.Hour)
	if e.share(step); e.owed != 0 {
		t.Errorf("where nothing waits, %v are owed to it", e.owed)
	}
}
