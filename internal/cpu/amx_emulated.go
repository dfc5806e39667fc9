//go:build amxemu && linux && amd64 && !noasm

package cpu

import "github.com/salver-ml/salver/internal/cpu/amxemu"

// hasAMX: tests with the tag amxemu have the tiles in software.
func hasAMX() bool {
	amxemu.Install()
	return true
}
