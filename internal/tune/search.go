package tune

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/salver-ml/salver/internal/engine"
	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// gain is how much faster an option must be to replace the default, as a part of
// the default's time; exactGain the same for one that rounds differently.
const (
	gain      = 0.03
	exactGain = 0.10
)

// slow is from how many times the best time on an option is dropped after warmup
// rounds.
const (
	slow   = 1.25
	warmup = 3
)

// forced chooses what has been decided, and notes what is asked.
type forced struct {
	decided Choices
	asked   []op.Choice
}

// Choose gives the decided option.
func (f *forced) Choose(_ *op.Prep, c op.Choice) string {
	if len(c.Options) > 1 && !slices.ContainsFunc(f.asked, func(a op.Choice) bool { return a.Name == c.Name }) {
		f.asked = append(f.asked, c)
	}
	return f.decided[c.Name]
}

// next is the first choice that was asked for and is not decided.
func (f *forced) next() (op.Choice, bool) {
	for _, c := range f.asked {
		if _, ok := f.decided[c.Name]; !ok {
			return c, true
		}
	}
	return op.Choice{}, false
}

// search decides the choices of one layer.
type search struct {
	step     *exec.Isolated
	evict    *evictor
	deadline time.Time
	exact    Choices // options that round differently and are decided
	allowed  bool    // others than the default may be taken for those
	room     int     // bytes of packed weights that such an option may need
	maxError float64

	decided Choices // those of an earlier search at first
	isExact map[string]bool
	base    time.Duration // with what was decided at first
	best    time.Duration // of base's moment: what each choice has gained since
	used    int           // bytes of room
}

// run makes the choices one after the other, the first at least. What is left when
// the time is over stays open, which counts as the default.
func (s *search) run() error {
	s.isExact = map[string]bool{}
	for {
		f := &forced{decided: s.decided}
		a, err := s.step.Compile(f)
		if err != nil {
			return err
		}
		a.Close()
		c, open := f.next()
		if !open {
			return nil
		}
		if c.Arithmetic {
			s.isExact[c.Name] = true
			if known, ok := s.exact[c.Name]; ok || !s.allowed {
				if !ok {
					known = c.Options[0]
				}
				s.decided[c.Name] = known
				continue
			}
		}
		if s.base > 0 && time.Now().After(s.deadline) {
			return nil
		}
		left := 0
		for _, o := range f.asked {
			if _, ok := s.decided[o.Name]; !ok {
				left++
			}
		}
		slice := time.Until(s.deadline) / time.Duration(left)
		if err := s.decide(c, slice); err != nil {
			return err
		}
	}
}

// candidate is one option of the choice at hand.
type candidate struct {
	option string
	kernel *exec.Alternative
	best   time.Duration
	out    bool
}

// decide measures the options of a choice in turns for a while and takes the best.
func (s *search) decide(c op.Choice, d time.Duration) error {
	var list []*candidate
	defer func() {
		for _, x := range list {
			x.kernel.Close()
		}
	}()
	for _, option := range c.Options {
		with := Choices{c.Name: option}
		for k, v := range s.decided {
			with[k] = v
		}
		a, err := s.step.Compile(&forced{decided: with})
		if err != nil {
			return fmt.Errorf("%s=%s: %w", c.Name, option, err)
		}
		x := &candidate{option: option, kernel: a, best: math.MaxInt64}
		list = append(list, x)
	}
	if c.Arithmetic {
		if err := s.refuse(list); err != nil {
			return err
		}
	}
	if err := s.measure(list, d); err != nil {
		return err
	}
	s.take(c, list)
	return nil
}

// refuse drops options that need more memory or deviate more than allowed.
func (s *search) refuse(list []*candidate) error {
	var want []*tensor.Tensor
	for i, x := range list {
		s.step.Refresh()
		if err := x.kernel.Run(); err != nil {
			return err
		}
		if i == 0 {
			for _, t := range s.step.Outputs() {
				want = append(want, t.Clone())
			}
			continue
		}
		x.out = x.kernel.Packed > s.room || engine.Deviation([][]*tensor.Tensor{s.step.Outputs()}, [][]*tensor.Tensor{want}) > s.maxError
	}
	return nil
}

// measure times the candidates in turns, for d at most.
func (s *search) measure(list []*candidate, d time.Duration) error {
	end := time.Now().Add(d)
	enough := newSettled(len(list))
	for round := 0; round < 2 || time.Now().Before(end) && !enough.settled(); round++ {
		best := time.Duration(math.MaxInt64)
		for i := range list {
			x := list[(i+round)%len(list)]
			if x.out {
				continue
			}
			t, err := s.evict.time(s.step, x.kernel)
			if err != nil {
				return err
			}
			x.best = min(x.best, t)
			best = min(best, x.best)
			enough.add((i+round)%len(list), t)
		}
		if round == warmup {
			for _, x := range list[1:] {
				x.out = x.out || float64(x.best) > slow*float64(best)
			}
		}
	}
	return nil
}

// take decides for the fastest candidate, or the first, which is the default.
func (s *search) take(c op.Choice, list []*candidate) {
	least := gain
	if c.Arithmetic {
		least = exactGain
	}
	best := list[0]
	for _, x := range list[1:] {
		if !x.out && float64(x.best) < (1-least)*float64(list[0].best) && x.best < best.best {
			best = x
		}
	}
	if s.base == 0 {
		s.base, s.best = list[0].best, list[0].best
	}
	s.best = time.Duration(float64(s.best) * float64(best.best) / float64(max(list[0].best, 1)))
	s.decided[c.Name] = best.option
	if c.Arithmetic && best != list[0] {
		s.used += best.kernel.Packed
		s.room -= best.kernel.Packed
	}
}
