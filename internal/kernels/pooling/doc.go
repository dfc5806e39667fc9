// Package pooling computes max and average pooling in fp32, in plain layout
// [N, C, spatial…] and in the blocked layout [N, ⌈C/b⌉, H, W, b] of package
// conv. A global pool is one whose kernel is the whole input.
//
//	plan, err := pooling.New(params, channels, []int{112, 112}, cpu.Level(), true)
//	err = plan.NewRunner().Run(pool, n, in, out)
//
// Nothing is allocated per run, but for room that a first run makes. A Plan is safe for concurrent use, a Runner is
// for one run at a time. Averages add the taps row by row, then divide; the
// order depends on the window alone. What a maximum over NaN gives is not
// defined.
package pooling
