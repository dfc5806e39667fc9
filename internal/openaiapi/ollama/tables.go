package ollama

// Tables are the tables of requests in Markdown, by name.
func Tables() map[string]string {
	return map[string]string{
		"ollama-chat": chatFields.Markdown(), "ollama-generate": generateFields.Markdown(), "ollama-options": optionFields.Markdown(), "ollama-embed": embedFields.Markdown(),
		"ollama-embeddings": embedOneFields.Markdown(),
	}
}
