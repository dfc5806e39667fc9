package cli

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/salver-ml/salver/internal/llm"
	"github.com/salver-ml/salver/internal/token"
	"github.com/spf13/cobra"
)

func newTokenize(e *env) *cobra.Command {
	var special, ids, asJSON bool
	c := &cobra.Command{
		Use:   "tokenize MODEL TEXT",
		Short: "Show the tokens of a text",
		Long: `Shows which tokens a language model's tokenizer makes of TEXT: id and text of each. MODEL
is a GGUF file or a Hugging Face folder, of which only the tokenizer is read.`,
		Example: "  salver tokenize model.gguf \"Once upon a time\"\n  salver tokenize model.gguf --ids \"Once upon a time\"",
		Args:    cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			t, err := llm.LoadTokenizer(args[0])
			if err != nil {
				return err
			}
			list := t.Encode(args[1], token.EncodeOptions{AddSpecial: special, ParseSpecial: special})
			switch {
			case asJSON:
				return json.NewEncoder(e.out).Encode(map[string]any{"tokens": append([]int32{}, list...), "pieces": pieces(t, list)})
			case ids:
				_, err = fmt.Fprintln(e.out, strings.Trim(fmt.Sprint(list), "[]"))
				return err
			}
			for i, p := range pieces(t, list) {
				if _, err := fmt.Fprintf(e.out, "%6d %q\n", list[i], p); err != nil {
					return err
				}
			}
			return nil
		},
	}
	fl := c.Flags()
	fl.BoolVar(&special, "special", true, "add the tokens that begin and end a text, and take the names of special tokens as tokens")
	fl.BoolVar(&ids, "ids", false, "print the ids alone")
	fl.BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func pieces(t *token.Tokenizer, ids []int32) []string {
	list := []string{}
	for _, id := range ids {
		list = append(list, string(t.Bytes(id)))
	}
	return list
}
