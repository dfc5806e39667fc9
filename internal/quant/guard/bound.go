package guard

import (
	"errors"
	"fmt"
	"strings"
)

// Bound is the accuracy that a quantized model has to keep, compared with the original
// on samples. Fields that are zero bound nothing.
type Bound struct {
	MinSQNR float64 // dB, of each output
	MaxKLD  float64 // nats, mean over the samples, of outputs [rows, classes]
	MaxDrop float64 // of the share of labelled samples whose class is found: .005 is half a percent
}

// Empty reports whether nothing is bounded.
func (b Bound) Empty() bool { return b == Bound{} }

// String writes e.g. "SQNR of at least 30 dB".
func (b Bound) String() string {
	var parts []string
	if b.MinSQNR != 0 {
		parts = append(parts, fmt.Sprintf("SQNR of at least %g dB", b.MinSQNR))
	}
	if b.MaxKLD != 0 {
		parts = append(parts, fmt.Sprintf("divergence of at most %g nats", b.MaxKLD))
	}
	if b.MaxDrop != 0 {
		parts = append(parts, fmt.Sprintf("accuracy lower by at most %g %%", 100*b.MaxDrop))
	}
	return strings.Join(parts, ", ")
}

// holds reports whether what was measured is within the bound.
func (b Bound) holds(o *Outputs) bool {
	if b.MinSQNR != 0 && o.SQNR() < b.MinSQNR {
		return false
	}
	if kld, ok := o.KLD(); b.MaxKLD != 0 && (!ok || !(kld <= b.MaxKLD)) {
		return false
	}
	model, reference, ok := o.Accuracy()
	return b.MaxDrop == 0 || ok && reference-model <= b.MaxDrop+1e-12
}

// measurable says what the samples lack to tell whether the bound holds.
func (b Bound) measurable(o *Outputs) error {
	if _, ok := o.KLD(); b.MaxKLD != 0 && !ok {
		return errors.New("no output is [rows, classes] of float32, so that there is no divergence to bound: give a bound on SQNR")
	}
	if b.MaxDrop != 0 && o.strange > 0 {
		return fmt.Errorf("%d samples have a class that the output does not have, such as %d: classes are counted from 0", o.strange, o.class)
	}
	if _, _, ok := o.Accuracy(); b.MaxDrop != 0 && !ok {
		return errors.New("a bound on accuracy needs data with labels and an output [1, classes]: give a bound on SQNR or divergence")
	}
	return nil
}

// noise is what a layer alone adds to the outputs, in the measure that is bounded.
func (b Bound) noise(o *Outputs) float64 {
	if kld, ok := o.KLD(); ok && b.MinSQNR == 0 {
		return kld
	}
	return fromDecibels(o.SQNR())
}
