package demo

import (
	_ "embed"
	"fmt"
)

// LanguageModel is an embedded language model.
type LanguageModel struct {
	Name        string
	Description string
	GGUF        []byte
	// Question is one that it answers, and Answer what it says.
	Question, Answer string
}

//go:embed models/tiny-chat.gguf
var tinyChat []byte

//go:embed models/tiny-chat-draft.gguf
var tinyChatDraft []byte

// LanguageModels gives the embedded language models, the one that a new user
// should meet first. The caller must not change their bytes.
func LanguageModels() []LanguageModel {
	return []LanguageModel{
		{Name: "tiny-chat", Description: "small talk: a Llama of 900,000 parameters", GGUF: tinyChat, Question: "What is 3 plus 4?", Answer: "3 plus 4 is 7."},
		{Name: "tiny-chat-draft", Description: "the same in a fifth of the size, to draft for it", GGUF: tinyChatDraft, Question: "What does a cow say?", Answer: "A cow says moo."},
	}
}

// Curl is a command line that asks the question of a server.
func (m LanguageModel) Curl(address string) string {
	return fmt.Sprintf(`curl -s http://%s/v1/chat/completions -H 'Content-Type: application/json' -d '{"model":%q,"temperature":0,"messages":[{"role":"user","content":%q}]}'`, address, m.Name, m.Question)
}
