// Package amxemu executes the instructions of AMX tiles on processors that have
// AVX-512 but no AMX, so that the kernels for tiles are tested everywhere.
//
// It exists under the build tag amxemu only, which is for tests:
//
//	CGO_ENABLED=1 go test -tags amxemu ./internal/kernels/...
//
// An instruction that the processor does not know raises SIGILL. The handler,
// which is in C because Go's own signal handling cannot resume at another
// instruction, keeps the tiles of its thread, executes the instruction with
// them and goes on behind it. It is strict: what the processor would refuse
// (products of tiles whose shapes do not match, tiles without a configuration)
// ends the process with the reason.
//
// Semantics: Intel 64 and IA-32 Architectures Software Developer's Manual,
// volume 2, LDTILECFG, TILELOADD, TDPBSSD, TDPBF16PS and those beside them.
package amxemu
