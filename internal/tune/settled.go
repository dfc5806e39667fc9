package tune

import "time"

// A measurement has settled when no best time has become shorter by more than better
// for as many runs as it had before that, and for settleTime at least: a machine that
// others slow down for moments then had time to recover.
const (
	better     = 0.01
	settleRuns = 20
	settleTime = 200 * time.Millisecond
)

// settled follows the best times of what is measured in turns.
type settled struct {
	best       []time.Duration
	runs, last int // all runs, and up to when a best time became shorter
	at         time.Time
}

func newSettled(n int) *settled { return &settled{best: make([]time.Duration, n), at: time.Now()} }

// add takes the time of a run of which.
func (s *settled) add(which int, t time.Duration) {
	s.runs++
	old := s.best[which]
	if old > 0 && t >= old {
		return
	}
	s.best[which] = t
	if old == 0 || float64(t) < (1-better)*float64(old) {
		s.last, s.at = s.runs, time.Now()
	}
}

// settled reports whether more runs would hardly change the best times.
func (s *settled) settled() bool {
	since := s.runs - s.last
	return since >= max(s.last, settleRuns*len(s.best)) && time.Since(s.at) >= settleTime
}
