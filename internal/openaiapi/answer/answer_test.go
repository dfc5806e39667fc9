package answer

import (
	"context"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/textgen"
)

// endless is a model whose answers end with their requests.
type endless struct{ textgen.Model }

func (endless) Generate(ctx context.Context, _ *textgen.Request, emit func(*textgen.Event) error) (*textgen.Usage, error) {
	if err := emit(&textgen.Event{}); err != nil {
		return nil, err
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// A defect that shows in one of several requests ends all of them, and not the process.
func TestRunOutlivesPanics(t *testing.T) {
	_, err := Run(t.Context(), endless{}, make([]*textgen.Request, 3), func(i int, _ *textgen.Event) error {
		if i == 1 {
			panic("a defect")
		}
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "a defect") || !strings.Contains(err.Error(), "answer_test.go") {
		t.Errorf("got %v, expected what panicked, and where", err)
	}
}
