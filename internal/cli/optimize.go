package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/format/onnx"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes"
	"github.com/salver-ml/salver/internal/passes/contrib"
	"github.com/salver-ml/salver/internal/passes/upgrade"
	"github.com/spf13/cobra"
)

type optimizeFlags struct {
	output        string
	level, opset  int
	off           []string
	contrib, json bool
}

func newOptimize(e *env) *cobra.Command {
	var f optimizeFlags
	c := &cobra.Command{
		Use:   "optimize IN.onnx -o OUT.onnx",
		Short: "Write an optimized model that any ONNX runtime loads",
		Long: `Runs the passes whose results are standard ONNX and writes the graph. Names of inputs
and outputs and the opset stay. What the passes did is printed; 'salver explain' shows more.

The file grows by a tenth and 4 MiB at most: constants that would be larger are not
computed, and quantized weights stay quantized. Weights of a model over 2 GiB go into
OUT.onnx.data beside it.

--contrib also makes operators of the domain com.microsoft (FusedConv, BiasGelu,
SkipLayerNormalization and others), which onnxruntime has and few others. --opset moves
the model to a newer opset where its operators allow that, and says which one does not.`,
		Example: "  salver optimize model.onnx -o model.opt.onnx\n  salver optimize model.onnx -o out.onnx --level 1 --passes -fold-batchnorm\n" +
			"  salver optimize model.onnx -o model.ort.onnx --contrib",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), e, args[0]) },
	}
	c.Flags().StringVarP(&f.output, "output", "o", "", "file to write")
	c.Flags().IntVar(&f.level, "level", pass.MaxLevel, "optimization level, 0 (none) to 3")
	c.Flags().IntVar(&f.opset, "opset", 0, "newer opset of ai.onnx for the result; 0 keeps the model's")
	c.Flags().StringArrayVar(&f.off, "passes", nil, "switch a pass off: --passes -NAME (may be repeated)")
	c.Flags().BoolVar(&f.contrib, "contrib", false, "write operators of com.microsoft too, for onnxruntime")
	c.Flags().BoolVar(&f.json, "json", false, "print what the passes did as JSON")
	return c
}

func (f *optimizeFlags) run(ctx context.Context, e *env, path string) error {
	off, err := switchedOff(f.off)
	if err != nil {
		return err
	}
	if f.output == "" {
		return misusef("-o OUT.onnx is missing")
	}
	if err := apart(path, f.output); err != nil { // the model as it was would be lost
		return err
	}
	m, err := onnx.Load(path)
	if err != nil {
		return err
	}
	defer m.Close()
	report, err := f.optimize(ctx, m.Graph, off)
	if err == nil && f.opset > 0 {
		err = upgrade.Opset(m.Graph, f.opset)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := m.WriteFile(f.output); err != nil {
		return fmt.Errorf("%s: %w", f.output, err)
	}
	if f.json {
		return json.NewEncoder(e.out).Encode(report)
	}
	fmt.Fprintf(e.out, "%s: %d nodes became %d\n", f.output, report.NodesBefore, report.NodesAfter)
	for _, p := range report.Passes {
		if len(p.Patches) > 0 {
			fmt.Fprintf(e.out, "  %-20s %4d times\n", p.Name, len(p.Patches))
		}
		if p.Stopped != "" {
			fmt.Fprintf(e.out, "  %-20s stopped: %s\n", p.Name, p.Stopped)
		}
	}
	return nil
}

// optimize runs the portable passes, and then those for onnxruntime if wanted.
func (f *optimizeFlags) optimize(ctx context.Context, g *ir.Graph, off []string) (*pass.Report, error) {
	all := passes.All
	if f.contrib {
		all = slices.Concat(all, contrib.Passes)
	}
	if unknown := slices.IndexFunc(off, func(name string) bool { return !slices.Contains(pass.Names(all), name) }); unknown >= 0 {
		return nil, misusef("--passes -%s: the passes are %v", off[unknown], pass.Names(all))
	}
	report, err := pass.Run(g, passes.All, pass.Options{Level: f.level, Off: among(off, passes.All), Portable: true, Context: ctx})
	if err != nil || !f.contrib {
		return report, err
	}
	more, err := pass.Run(g, contrib.Passes, pass.Options{Level: f.level, Off: among(off, contrib.Passes), Context: ctx})
	if err != nil {
		return nil, err
	}
	if usesMicrosoft(g) {
		g.Opsets[op.Microsoft] = 1
	}
	report.NodesAfter = more.NodesAfter
	report.Passes = append(report.Passes, more.Passes...)
	report.Duration += more.Duration
	return report, nil
}

// among keeps the names that some of the passes have.
func among(names []string, of []pass.Pass) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !slices.Contains(pass.Names(of), name) })
}

func usesMicrosoft(g *ir.Graph) bool {
	return slices.ContainsFunc(g.Nodes, func(n *ir.Node) bool {
		return n.Domain == op.Microsoft || slices.ContainsFunc(n.Subgraphs(), usesMicrosoft)
	})
}
