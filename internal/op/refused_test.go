package op

import (
	"errors"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/ir"
)

func TestRefusedOperatorsSayWhy(t *testing.T) {
	for _, c := range []struct{ domain, name, want string }{
		{"com.microsoft.nchwc", "Conv", "for the processor that it ran on"},
		{Microsoft, "EPContext", "one vendor's compiler"},
		{Microsoft, "BeamSearch", "generation loop"},
		{ML, "DictVectorizer", "map"},
	} {
		n := ir.NewNode(c.domain, c.name, 1, nil, nil, nil)
		n.Name = "it"
		err := Complete(n)
		var refused *RefusedError
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.name) {
			t.Errorf("%s::%s: %v, expected a refusal with %q", c.domain, c.name, err, c.want)
		}
	}
	err := Complete(ir.NewNode(Microsoft, "NoSuchOperator", 1, nil, nil, nil))
	var refused *RefusedError
	if err == nil || errors.As(err, &refused) {
		t.Errorf("an unknown operator: %v, expected an error that is no refusal", err)
	}
}
