package shape

import "testing"

func TestDimArithmetic(t *testing.T) {
	n, s := Sym("n"), Sym("s")
	for _, c := range []struct {
		got  Dim
		want string
	}{
		{n.Add(Const(1)).Sub(Const(1)), "n"},
		{n.Mul(s).Sub(s.Mul(n)), "0"},
		{n.Mul(Const(4)).Add(Const(6)).Div(Const(2)), "2*n+3"},
		{n.Mul(s).Mul(Const(6)).Div(s.Mul(Const(3))), "2*n"},
		{n.Add(Const(1)).Div(Const(2)), "floor((n+1)/(2))"},
		{n.Mul(Const(2)).Add(Const(-3)).Div(Const(2)), "n-2"},
		{Const(-7).Div(Const(2)), "-4"},
		{n.Add(s).Mul(n.Sub(s)), "n*n-s*s"},
		{n.Div(n), "1"},
	} {
		if c.got.String() != c.want {
			t.Errorf("got %s want %s", c.got, c.want)
		}
	}
	if Unknown().Equal(Unknown()) {
		t.Error("two unknowns are not equal")
	}
}

func TestBroadcast(t *testing.T) {
	n := Sym("n")
	got, err := Broadcast(Shape{n, Const(1), Const(5)}, Shape{Const(3), Const(1)})
	if err != nil || got.String() != "[n,3,5]" {
		t.Errorf("%v %v", got, err)
	}
	if _, err := Broadcast(Of(2, 3), Of(4, 3)); err == nil {
		t.Error("2 against 4 must not broadcast")
	}
	if s, err := Broadcast(nil, Of(1)); s != nil || err != nil {
		t.Error("unknown rank stays unknown")
	}
}

func TestNonNegative(t *testing.T) {
	n := Sym("n")
	for _, c := range []struct {
		d    Dim
		want bool
	}{
		{Const(0), true}, {Const(-1), false}, {n, true}, {n.Add(Const(2)), true}, {n.Sub(Const(1)), false},
		{n.Mul(Const(3)).Add(Const(1)).Div(Const(2)), true}, {n.Sub(Const(1)).Div(Const(2)), false}, {Unknown(), false},
	} {
		if got := c.d.NonNegative(); got != c.want {
			t.Errorf("%v: found %v, expected %v", c.d, got, c.want)
		}
	}
}

func TestSolveSum(t *testing.T) {
	past, seq, total := Sym("past"), Sym("seq"), Sym("total")
	for _, c := range []struct {
		x, y Dim
		name string
		sum  string
	}{
		{total, past.Add(seq), "total", "past+seq"},
		{seq, total.Sub(past), "total", "past+seq"},
		{past.Add(seq).Add(Const(2)), total, "", ""},
		{total, past.Add(Const(1)), "", ""},
		{total, past.Mul(Const(2)), "total", "2*past"},
		{total, past, "", ""},
		{total, total.Add(past), "", ""},
		{total.Mul(Const(2)), past.Add(seq), "", ""},
		{total, past.Mul(seq), "", ""},
		{total, past.Mul(Const(1000)), "", ""},
	} {
		name, sum, ok := SolveSum(c.x, c.y)
		if ok != (c.name != "") || ok && (name != c.name || sum.String() != c.sum) {
			t.Errorf("%v = %v: found %s = %v (%v), expected %s = %s", c.x, c.y, name, sum, ok, c.name, c.sum)
		}
	}
}
