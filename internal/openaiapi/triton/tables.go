package triton

// Tables are the tables of requests in Markdown, by name.
func Tables() map[string]string {
	return map[string]string{"generate": requestFields.Markdown()}
}
