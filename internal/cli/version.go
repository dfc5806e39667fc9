package cli

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/spf13/cobra"
)

// Version is the released version, set when a release is linked.
var Version = "dev"

func newVersion(e *env) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use: "version", Short: "Print the version, the platform and the instruction set in use", Args: cobra.NoArgs,
		Example: "  salver version\n  salver version --json",
		RunE: func(*cobra.Command, []string) error {
			v := map[string]string{"version": Version, "commit": commit(), "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH, "isa": cpu.ISA()}
			if asJSON {
				return json.NewEncoder(e.out).Encode(v)
			}
			_, err := fmt.Fprintf(e.out, "salver %s (%s) %s %s, kernels for %s\n", v["version"], v["commit"], v["go"], v["platform"], v["isa"])
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// commit is the revision that the binary was built from.
func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return s.Value[:12]
		}
	}
	return "unknown"
}
