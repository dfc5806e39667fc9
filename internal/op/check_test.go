package op

import (
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/ir"
)

// Only what is optional may be absent between others; a variadic input may be
// absent as a whole, but has no holes.
func TestAbsentInputs(t *testing.T) {
	v := ir.NewValue("v", ir.Type{})
	for _, c := range []struct {
		ports []Port
		in    []*ir.Value
		want  string
	}{
		{Ports("x:T", "y:T"), []*ir.Value{v, nil}, "input 1 (y) is missing"},
		{Ports("x:T", "y:T?"), []*ir.Value{v, nil}, ""},
		{Ports("x:T", "y:T?"), []*ir.Value{nil, v}, "input 0 (x) is missing"},
		{Ports("x:T..."), []*ir.Value{v, nil, v}, "input 1 (x) is missing"},
		{Ports("x:T..."), []*ir.Value{nil}, "input 0 (x) is missing"},
		{Ports("x:T?", "y:T..."), []*ir.Value{nil, v, v}, ""},
		{Ports("x:T?", "y:T...?"), []*ir.Value{nil}, ""},
		{Ports("x:T?", "y:T...?"), []*ir.Value{v, v, nil}, "input 2 (y) is missing"},
	} {
		err := checkArity("input", c.ports, c.in)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v with %d inputs: %v, expected %q", c.ports, len(c.in), err, c.want)
		}
	}
}
