package calib

import (
	"math/rand/v2"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
)

func TestTable(t *testing.T) {
	for _, s := range shapes {
		x := s.draw(rand.New(rand.NewPCG(1, 1)), 200000)
		for _, m := range Methods[:4] {
			o, _ := New(m, Options{})
			if err := o.Observe(x); err != nil {
				t.Fatal(err)
			}
			for _, c := range []struct {
				t dtype.Type
				s bool
			}{{dtype.Uint8, false}, {dtype.Int8, true}, {dtype.Int4, true}} {
				r, err := o.Range(c.t, c.s)
				t.Logf("%-26s %-10s %-5s %-5t %8.4f %8.4f  %6.2f dB %v", s.name, m, c.t, c.s, r.Min, r.Max, sqnr(x, r, c.t, c.s), err)
			}
		}
	}
}

func BenchmarkRange(b *testing.B) {
	for _, s := range shapes {
		x := s.draw(rand.New(rand.NewPCG(1, 1)), 1000000)
		for _, m := range Methods[1:4] {
			o, _ := New(m, Options{})
			o.Observe(x)
			for _, sym := range []bool{false, true} {
				b.Run(s.name+"/"+m, func(b *testing.B) {
					for b.Loop() {
						o.Range(dtype.Int8, sym)
					}
				})
			}
		}
	}
}
func BenchmarkObserve(b *testing.B) {
	x := normal(rand.New(rand.NewPCG(1, 1)), 100000)
	for _, m := range Methods {
		b.Run(m, func(b *testing.B) {
			o, _ := New(m, Options{})
			for b.Loop() {
				o.Observe(x)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(x)), "ns/value")
		})
	}
}
