package explain

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// Print writes the explanation for people.
func (x *Explanation) Print(w io.Writer) error {
	fmt.Fprintf(w, "%s  %s, %s, %d threads\n\n", x.Model, x.Precision, x.ISA, x.Threads)
	fmt.Fprintf(w, "Optimizer: %d nodes became %d in %v\n", x.Passes.NodesBefore, x.Passes.NodesAfter, x.Passes.Duration.Round(time.Millisecond))
	for _, p := range x.Passes.Passes {
		if p.Stopped != "" {
			fmt.Fprintf(w, "  %-20s stopped: %s\n", p.Name, p.Stopped)
		}
		if len(p.Patches)+len(p.Near) > 0 {
			fmt.Fprintf(w, "  %-20s %4d times\n", p.Name, len(p.Patches))
		}
		for _, n := range p.Near {
			fmt.Fprintf(w, "    almost: %s: %s\n", n.Node, n.Reason)
		}
	}
	fmt.Fprintf(w, "\nBatching of requests: %s\nReorders of layout: %d\nCopies between providers: %d (%.2f MiB)\n", x.Batching, x.Reorders, x.Copies.Count, float64(x.Copies.Bytes)/(1<<20))
	for _, l := range x.Labelled {
		some := strings.Join(l.Classes[:min(len(l.Classes), 8)], ", ")
		if len(l.Classes) > 8 {
			some += ", …"
		}
		fmt.Fprintf(w, "Output %q: its maps are one tensor, with a column for each of %d classes: %s\n", l.Output, len(l.Classes), some)
	}
	m := x.Memory
	fmt.Fprintf(w, "Memory, bytes: weights %d, packed %d, arena %d (lower bound %d), inputs %d, outputs %d\n", m.Weights, m.Packed, m.Arena, m.ArenaBound, m.Inputs, m.Outputs)
	fmt.Fprintf(w, "This machine, measured: %.0f GFLOP/s, reads %.1f GB/s\n\n", x.Roofline.GFlops, x.Roofline.GBytes)
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "ms\tat best\t%\tGFLOP/s\tGB/s\tkernel\t operator\t output\t name\t")
	for _, s := range x.Steps {
		out := ""
		if len(s.Out) > 0 {
			out = s.Out[0]
		}
		fmt.Fprintf(t, "%.3f\t%.3f\t%.1f\t%.1f\t%.1f\t%s\t %s\t %s\t %s\t\n", s.MS, s.PredictedMS, 100*s.MS/max(x.TotalMS, 1e-9), s.GFlops, s.GBytes, strings.TrimSpace(s.Kernel+" "+s.Precision), s.Op, out, s.Name)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%.3f ms in all steps\n", x.TotalMS)
	return err
}
