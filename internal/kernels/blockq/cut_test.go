package blockq

import "testing"

// TestTaper checks that the parts cover all panels once, and get no larger.
func TestTaper(t *testing.T) {
	for _, c := range []struct{ n, least, threads int }{{1, 1, 2}, {7, 2, 2}, {16, 4, 2}, {352, 1, 2}, {352, 2, 16}, {2000, 3, 1}, {5, 9, 4}} {
		cuts := taper(nil, c.n, c.least, c.threads)
		if cuts[0] != 0 || cuts[len(cuts)-1] != c.n {
			t.Fatalf("%+v: cuts are %v", c, cuts)
		}
		for i := 1; i < len(cuts); i++ {
			size := cuts[i] - cuts[i-1]
			if size < min(c.least, c.n) || size >= 2*c.least && i > 1 && size > cuts[i-1]-cuts[i-2] {
				t.Errorf("%+v: part %d is %d panels: %v", c, i, size, cuts)
			}
		}
		if last := c.n - cuts[len(cuts)-2]; c.threads > 1 && last >= 2*c.least {
			t.Errorf("%+v: the last part is %d panels", c, last)
		}
	}
}
