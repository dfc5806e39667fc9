package anthropic

// Tables are the tables of requests in Markdown, by name.
func Tables() map[string]string {
	return map[string]string{"anthropic": messageFields.Markdown()}
}
