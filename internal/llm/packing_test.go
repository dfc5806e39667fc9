package llm

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Packing gets its share of the time in which answers are generated.
func TestPackingShare(t *testing.T) { synctest.Test(t, testPackingShare) }

func testPackingShare(t *testing.T) {
	var spent time.Duration
	e := &engine{packing: packing{piece: func() bool { time.Sleep(4 * time.Millisecond); spent += 4 * time.Millisecond; return true }}}
	p := &e.packing
	const step = 8 * time.Millisecond
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

// Steps of a prompt are followed by no packing, not even the one that gives the first token;
// those that generate are, up to the one that ends the answer.
func TestPackingFollowsGeneratedTokens(t *testing.T) {
	m := newFakeModel(t)
	packed := 0
	e := &engine{run: m.run, copy: m.copy, packing: packing{piece: func() bool { packed++; return true }}, pool: m.pool, sched: newScheduler(64, 16, 4, true), context: 256, maxQueue: 1, stats: newStats()}
	e.wake = sync.NewCond(&e.mu)
	if err := e.submit(&request{Request: ask(make([]int32, 40), 3), choices: 1, out: newQueue()}); err != nil {
		t.Fatal(err)
	}
	for step, want := range []int{0, 0, 0, 1, 2} { // 16, 16 and 8 tokens of the prompt, then two of the answer
		e.packing.owed = 0
		if e.turn(); packed != want {
			t.Errorf("after step %d: %d pieces are packed, expected %d", step, packed, want)
		}
	}
	if !e.sched.idle() {
		t.Error("the answer has not ended")
	}
}
