// Package token turns text into the numbers that language models work on, and
// back. It reads the tokenizers that come with models: GGUF metadata, Hugging
// Face's tokenizer.json, SentencePiece's tokenizer.model, WordPiece's vocab.txt,
// tiktoken's lists of ranks and Mistral's tekken.json; and it gives the numbers that the libraries
// give which those models were trained with.
//
//	t, err := token.FromFolder(os.DirFS("model"))
//	ids := t.Encode("Hello", token.EncodeOptions{AddSpecial: true})
//	text := t.Decode(ids, true)
//
// A text goes through these steps:
//
//	special tokens are found ▶ normalize ▶ added tokens are found ▶ pretokenize (cut into words) ▶ model (words into pieces)
//
// What a tokenizer file asks for and is not known here is an error when it is
// loaded, never left out. Encoding takes any bytes: where a step needs
// characters, bytes that are no UTF-8 count as U+FFFD, except that byte-level
// models keep them as they are. Its time grows as n·log n at most.
package token
