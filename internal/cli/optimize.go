package cli

import (
	"encoding/json"
	"fmt"

	"github.com/salver-ml/salver/internal/format/onnx"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes"
	"github.com/spf13/cobra"
)

func newOptimize(e *env) *cobra.Command {
	var output string
	var level int
	var off []string
	var asJSON bool
	c := &cobra.Command{
		Use:   "optimize IN.onnx -o OUT.onnx",
		Short: "Write an optimized model that any ONNX runtime loads",
		Long: `Runs the passes whose results are standard ONNX and writes the graph. Names of inputs
and outputs and the opset stay. What the passes did is printed; 'salver explain' shows more.`,
		Example: "  salver optimize model.onnx -o model.opt.onnx\n  salver optimize model.onnx -o out.onnx --level 1 --passes -fold-batchnorm",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			names, err := switchedOff(off)
			if err != nil {
				return err
			}
			if output == "" {
				return misusef("-o OUT.onnx is missing")
			}
			m, err := onnx.Load(args[0])
			if err != nil {
				return err
			}
			defer m.Close()
			report, err := pass.Run(m.Graph, passes.All, pass.Options{Level: level, Off: names, Portable: true})
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if err := m.WriteFile(output); err != nil {
				return fmt.Errorf("%s: %w", output, err)
			}
			if asJSON {
				return json.NewEncoder(e.out).Encode(report)
			}
			fmt.Fprintf(e.out, "%s: %d nodes became %d\n", output, report.NodesBefore, report.NodesAfter)
			for _, p := range report.Passes {
				if len(p.Patches) > 0 {
					fmt.Fprintf(e.out, "  %-16s %4d times\n", p.Name, len(p.Patches))
				}
			}
			return nil
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "file to write")
	c.Flags().IntVar(&level, "level", pass.MaxLevel, "optimization level, 0 (none) to 3")
	c.Flags().StringArrayVar(&off, "passes", nil, "switch a pass off: --passes -NAME (may be repeated)")
	c.Flags().BoolVar(&asJSON, "json", false, "print what the passes did as JSON")
	return c
}
