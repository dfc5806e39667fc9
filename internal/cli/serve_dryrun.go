package cli

import (
	"encoding/json"
	"fmt"

	"github.com/salver-ml/salver/internal/repo"
)

// dryRunResult is what serve --dry-run --json prints.
type dryRunResult struct {
	Models   []string        `json:"models"`
	Problems []dryRunProblem `json:"problems"`
}

type dryRunProblem struct {
	Model       string `json:"model"`
	File        string `json:"file,omitempty"`
	Line        int    `json:"line,omitempty"`
	Column      int    `json:"column,omitempty"`
	Field       string `json:"field,omitempty"`
	Message     string `json:"message"`
	Unsupported bool   `json:"unsupported"` // the field is right, but has no effect here
}

// dryRun lists what is wrong with the repositories' models, without loading them.
func dryRun(e *env, paths []string, asJSON bool) error {
	repositories, err := openRepositories(paths)
	if err != nil {
		return err
	}
	r := dryRunResult{Models: []string{}, Problems: []dryRunProblem{}}
	var all repo.Problems
	for _, in := range repositories {
		models, problems, err := in.DryRun()
		if err != nil {
			return err
		}
		r.Models = append(r.Models, models...)
		all = append(all, problems...)
	}
	for _, p := range all {
		r.Problems = append(r.Problems, dryRunProblem{p.Model, p.File, p.Line, p.Col, p.Field, p.Message, p.Unsupported})
	}
	if asJSON {
		enc := json.NewEncoder(e.out)
		enc.SetIndent("", " ")
		err = enc.Encode(r)
	} else {
		err = r.print(e, all)
	}
	if err == nil && len(all) > 0 {
		return errReported
	}
	return err
}

func (r *dryRunResult) print(e *env, problems repo.Problems) error {
	faulty := map[string]bool{}
	for _, p := range problems {
		faulty[p.Model] = true
		if _, err := fmt.Fprintln(e.out, p); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(e.out, "%d models, %d could be served, %d problems\n", len(r.Models), len(r.Models)-len(faulty), len(problems))
	return err
}
