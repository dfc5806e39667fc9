package conformance

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/salver-ml/salver/internal/engine"
	"github.com/salver-ml/salver/internal/tensor"
	"github.com/salver-ml/salver/internal/testkit"
)

// The helpers write protobuf by hand.

func num(id protowire.Number, v int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, id, protowire.VarintType), uint64(v))
}

func txt[T string | []byte](id protowire.Number, v T) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, id, protowire.BytesType), []byte(v))
}

func join(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func vector(id protowire.Number, name string, n int) []byte {
	dims := txt(1, num(1, n))
	return txt(id, join(txt(1, name), txt(2, txt(1, join(num(1, 1), txt(2, dims))))))
}

// oneNode is a model y = op(x) on vectors of four.
func oneNode(domain, op string) []byte {
	node := join(txt(1, "x"), txt(2, "y"), txt(4, op), txt(7, domain))
	graph := join(txt(1, node), txt(2, "g"), vector(11, "x", 4), vector(12, "y", 4))
	return join(num(1, 8), txt(8, join(txt(1, ""), num(2, 17))), txt(7, graph))
}

func floatsFile(v ...float32) []byte {
	return join(num(1, len(v)), num(2, 1), txt(9, tensor.AsBytes(v)))
}

func results(t *testing.T, files map[string][]byte, o Options) map[string]Result {
	t.Helper()
	dir := t.TempDir()
	for name, b := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	all := map[string]Result{}
	if err := Run(context.Background(), dir, o, func(r Result) { all[r.Name] = r }); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestCasesOfEachForm(t *testing.T) {
	neg := oneNode("", "Neg")
	got := results(t, map[string][]byte{
		"node/test_neg/model.onnx":                  neg,
		"node/test_neg/test_data_set_0/input_0.pb":  floatsFile(1, 2, 3, 4),
		"node/test_neg/test_data_set_0/output_0.pb": floatsFile(-1, -2, -3, -4),
		"node/wrong/model.onnx":                     neg,
		"node/wrong/test_data_set_0/input_0.pb":     floatsFile(1, 2, 3, 4),
		"node/wrong/test_data_set_0/output_0.pb":    floatsFile(-1, -2, -3, 4),
		"light/light_neg.onnx":                      neg,
		"light/light_neg_output_0.pb":               floatsFile(0, -.25, -.5, -.75),
		"light/refused.onnx":                        oneNode("com.microsoft", "EPContext"),
		"light/refused_output_0.pb":                 floatsFile(0),
		"light/unknown.onnx":                        oneNode("com.microsoft", "NoSuchOperator"),
		"light/unknown_output_0.pb":                 floatsFile(0),
		"no case/model.onnx":                        neg,
		"manifest.tsv":                              []byte("suite\tdir\tcategory\nnode\ttest_neg\tcore\n"),
	}, Options{Engine: engine.Options{Level: 1}})
	for name, want := range map[string]struct {
		status Status
		reason string
	}{
		"node/test_neg":   {Passed, ""},
		"node/wrong":      {Failed, `output "y": element 3: expected 4, found -4`},
		"light/light_neg": {Passed, ""},
		"light/refused":   {Skipped, "refused: it holds what one vendor's compiler made"},
		"light/unknown":   {Failed, "operator is not supported"},
		"no case":         {Skipped, "no test_data_set_*"},
	} {
		r, ok := got[name]
		if !ok || r.Status != want.status || !strings.Contains(r.Reason, want.reason) {
			t.Errorf("%s: %s (%s), expected %s with %q", name, r.Status, r.Reason, want.status, want.reason)
		}
	}
	if len(got) != 6 {
		t.Errorf("%d cases, expected 6", len(got))
	}
	if c := got["node/test_neg"].Category; c != "core" {
		t.Errorf("category %q, expected that of the manifest", c)
	}
}

func TestFiltersAndTimeouts(t *testing.T) {
	neg := oneNode("", "Neg")
	files := map[string][]byte{
		"light/a.onnx": neg, "light/a_output_0.pb": floatsFile(0, -.25, -.5, -.75),
		"light/b.onnx": neg, "light/b_output_0.pb": floatsFile(0, -.25, -.5, -.75),
	}
	if got := results(t, files, Options{Filter: "/b"}); len(got) != 1 || got["light/b"].Status != Passed {
		t.Errorf("filtered: %v", got)
	}
	if got := results(t, files, Options{Timeout: time.Nanosecond}); got["light/a"].Status != Failed || !strings.Contains(got["light/a"].Reason, "no answer") {
		t.Errorf("with no time: %v", got)
	}
}

func TestNoCasesIsAnError(t *testing.T) {
	err := Run(context.Background(), t.TempDir(), Options{}, func(Result) {})
	if err == nil || !strings.Contains(err.Error(), "no cases found") {
		t.Errorf("error %v", err)
	}
}

// TestSuites runs what is at hand of the suites; a level below the highest keeps
// the tests quick where the race detector watches.
func TestSuites(t *testing.T) {
	for _, suite := range []string{"onnx-backend/simple.zip", "onnx-backend/pytorch.zip", "ort-graphs/graphs.zip"} {
		t.Run(suite, func(t *testing.T) {
			file := testkit.Assets(t, suite)
			err := Run(context.Background(), file, Options{Engine: engine.Options{Level: 2}}, func(r Result) {
				if r.Status == Failed {
					t.Errorf("%s: %s", r.Name, r.Reason)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}
