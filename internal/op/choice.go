package op

import (
	"slices"
	"strconv"
)

// Choice is a decision between ways to compute one node. Which is the fastest
// depends on the machine, and is measured by package tune.
type Choice struct {
	Name    string   // e.g. "algorithm"
	Options []string // the default first
	// Arithmetic says that the options round differently. Such a choice is made for
	// a layer of a model: neither the batch nor the threads may enter into it.
	Arithmetic bool
}

// Chooser takes decisions for kernels that are compiled. It may be asked by
// several goroutines at once. Its answers for the same facts stay the same.
type Chooser interface {
	// Choose gives one of c.Options. Anything else counts as the default.
	Choose(p *Prep, c Choice) string
}

// Choose gives the option to take: the chooser's, or the default.
func (p *Prep) Choose(c Choice) string {
	if p.Chooser != nil && len(c.Options) > 1 {
		if got := p.Chooser.Choose(p, c); slices.Contains(c.Options, got) {
			return got
		}
	}
	return c.Options[0]
}

// ChooseIndex is Choose that gives the number of the option.
func (p *Prep) ChooseIndex(c Choice) int { return slices.Index(c.Options, p.Choose(c)) }

// ChooseNumber is Choose among numbers, written in decimal.
func (p *Prep) ChooseNumber(name string, options ...int) int {
	c := Choice{Name: name}
	for _, n := range options {
		if s := strconv.Itoa(n); !slices.Contains(c.Options, s) {
			c.Options = append(c.Options, s)
		}
	}
	n, _ := strconv.Atoi(p.Choose(c)) // one of them
	return n
}
