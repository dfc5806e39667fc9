package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/salver-ml/salver/internal/conformance"
	"github.com/spf13/cobra"
)

func newCheck(e *env) *cobra.Command {
	var flags engineFlags
	var o conformance.Options
	var asJSON, verbose bool
	c := &cobra.Command{
		Use:   "check PATH…",
		Short: "Run conformance cases and compare with their expected outputs",
		Long: `Runs every case below each PATH, a folder or a zip, and compares the outputs:
  - ONNX backend tests: SUITE/CASE/model.onnx with test_data_set_* (rtol 1e-3, atol 1e-7)
  - X.onnx with X.onnx.golden.npz, which holds arrays in_NAME and out_NAME
  - light models: X.onnx with X_output_0.pb, whose inputs are computed
  - trained models with a meta.json that lists goldens
A manifest.tsv beside a zip gives each case its category. Ends with
"N passed, N failed, N skipped"; the exit status is 1 if any failed.`,
		Example: "  salver check node.zip --category core\n  salver check graphs.zip --level 0 --provider ref --json",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, paths []string) error {
			opts, closePool, err := flags.options()
			if err != nil {
				return err
			}
			defer closePool()
			o.Engine = opts
			t := &tally{out: e.out, err: e.err, json: asJSON, verbose: verbose}
			for _, p := range paths {
				if err := conformance.Run(cmd.Context(), p, o, t.add); err != nil {
					return err
				}
			}
			if len(t.n) == 0 {
				return fmt.Errorf("no case of %s fits --category %q and --filter %q", strings.Join(paths, " and "), o.Category, o.Filter)
			}
			return t.finish()
		},
	}
	flags.add(c)
	c.Flags().StringVar(&o.Category, "category", "", "only cases of this category of the manifest")
	c.Flags().StringVar(&o.Filter, "filter", "", "only cases whose name contains this")
	c.Flags().DurationVar(&o.Timeout, "timeout", time.Minute, "longest time for one case")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object with all results")
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "print cases that pass too")
	return c
}

// tally counts results and prints them as they come.
type tally struct {
	out, err      io.Writer
	json, verbose bool
	results       []conformance.Result
	n             map[conformance.Status]int
}

func (t *tally) add(r conformance.Result) {
	if t.n == nil {
		t.n = map[conformance.Status]int{}
	}
	t.n[r.Status]++
	if t.json {
		t.results = append(t.results, r)
		return
	}
	switch {
	case r.Status != conformance.Passed:
		fmt.Fprintf(t.out, "%s %s: %s\n", r.Status, r.Name, r.Reason)
	case t.verbose:
		fmt.Fprintf(t.out, "%s %s (%v)\n", r.Status, r.Name, r.Time.Round(time.Microsecond))
	}
}

func (t *tally) finish() error {
	passed, failed, skipped := t.n[conformance.Passed], t.n[conformance.Failed], t.n[conformance.Skipped]
	summary := t.out
	if t.json {
		summary = t.err // stdout is one JSON object
		enc := json.NewEncoder(t.out)
		enc.SetIndent("", " ")
		if err := enc.Encode(map[string]any{"passed": passed, "failed": failed, "skipped": skipped, "results": t.results}); err != nil {
			return err
		}
	}
	fmt.Fprintf(summary, "%d passed, %d failed, %d skipped\n", passed, failed, skipped)
	if failed > 0 {
		return errReported
	}
	return nil
}
