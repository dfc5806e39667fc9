package explain

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/engine"
	"github.com/salver-ml/salver/internal/pass"
)

func TestBisect(t *testing.T) {
	file, in := digits(t)
	o := engine.Options{Level: pass.MaxLevel}
	c, err := Bisect(context.Background(), file, in, o, 60)
	if err != nil {
		t.Fatal(err)
	}
	if c.Number != 0 || c.Patches == 0 || c.SQNR < 60 {
		t.Errorf("a good model has a culprit: %+v", c)
	}
	// No two orders of sums give the same bits: some patch is the first to change them.
	if c, err = Bisect(context.Background(), file, in, o, Exact); err != nil {
		t.Fatal(err)
	}
	if c.Number < 1 || c.Number > c.Patches || c.Pass == "" || c.Before != Exact || c.SQNR >= Exact {
		t.Errorf("%+v", c)
	}
	b := &bisection{ctx: context.Background(), model: file, in: in, o: o}
	if b.want, _, err = b.run(0, 0); err != nil {
		t.Fatal(err)
	}
	for most, same := range map[int]bool{c.Number - 1: true, c.Number: false} {
		if most == 0 {
			continue
		}
		if db, _, _, err := b.measure(most); err != nil || same != (db == Exact) {
			t.Errorf("with %d patches: %g dB, %v", most, db, err)
		}
	}
	var out bytes.Buffer
	if err := c.Report(&out, false, Exact); err != nil || !strings.Contains(out.String(), "by pass "+c.Pass) {
		t.Errorf("%v %s", err, out.String())
	}
}
