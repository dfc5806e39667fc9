//go:build !amd64 || noasm

package conv

import "github.com/salver-ml/salver/internal/cpu"

// assemblyTiles has nothing in this build.
func assemblyTiles(cpu.Target) *tileSet { return nil }
