package openai

// Response is the answer of the Responses API.
type Response struct {
	ID                 string             `json:"id"`
	Object             string             `json:"object"` // response
	CreatedAt          int64              `json:"created_at"`
	Status             string             `json:"status"` // in_progress, completed, incomplete, failed
	Error              *ResponseError     `json:"error"`
	Incomplete         *IncompleteDetails `json:"incomplete_details"`
	Instructions       *string            `json:"instructions"`
	MaxOutputTokens    *int               `json:"max_output_tokens"`
	Metadata           any                `json:"metadata"`
	Model              string             `json:"model"`
	Output             []OutputItem       `json:"output"`
	ParallelToolCalls  bool               `json:"parallel_tool_calls"`
	PreviousResponseID *string            `json:"previous_response_id"` // always null: nothing is stored
	Store              bool               `json:"store"`                // always false
	Temperature        float32            `json:"temperature"`
	Text               ResponseText       `json:"text"`
	ToolChoice         string             `json:"tool_choice"`
	Tools              any                `json:"tools"`
	TopLogprobs        int                `json:"top_logprobs,omitempty"`
	TopP               float32            `json:"top_p"`
	Truncation         string             `json:"truncation"` // disabled
	Usage              *ResponseUsage     `json:"usage"`
}

// ResponseError says why a response failed.
type ResponseError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// IncompleteDetails says why a response is incomplete.
type IncompleteDetails struct {
	Reason string `json:"reason"` // max_output_tokens
}

// ResponseText says how text is answered.
type ResponseText struct {
	Format ResponseFormat `json:"format"`
}

// ResponseFormat is the form of an answer's text.
type ResponseFormat struct {
	Type string `json:"type"` // text
}

// ResponseUsage is what a response took.
type ResponseUsage struct {
	InputTokens   int           `json:"input_tokens"`
	InputDetails  PromptDetails `json:"input_tokens_details"`
	OutputTokens  int           `json:"output_tokens"`
	OutputDetails OutputDetails `json:"output_tokens_details"`
	TotalTokens   int           `json:"total_tokens"`
}

// OutputDetails is a part of Usage and ResponseUsage.
type OutputDetails struct {
	ReasoningTokens int `json:"reasoning_tokens"`
}

// OutputItem is a message, a function call, or reasoning.
type OutputItem struct {
	ID        string        `json:"id"`
	Type      string        `json:"type"` // message, function_call, reasoning
	Status    string        `json:"status"`
	Role      string        `json:"role,omitempty"`    // of a message: assistant
	Content   []ContentPart `json:"content,omitzero"`  // of a message or reasoning
	Summary   []string      `json:"summary,omitzero"`  // of reasoning: empty
	CallID    string        `json:"call_id,omitempty"` // of a function call
	Name      string        `json:"name,omitempty"`
	Arguments *string       `json:"arguments,omitempty"`
}

// ContentPart is a part of an item's text.
type ContentPart struct {
	Type        string         `json:"type"` // output_text, reasoning_text
	Text        string         `json:"text"`
	Annotations []string       `json:"annotations,omitzero"` // of output_text: empty
	Logprobs    []TokenLogprob `json:"logprobs,omitzero"`    // of output_text: empty unless they are asked for
}

// ResponseEvent is an event of a streamed response. Which fields an event has
// depends on its type.
type ResponseEvent struct {
	Type         string         `json:"type"`
	Sequence     int            `json:"sequence_number"`
	Response     *Response      `json:"response,omitempty"`
	ItemID       string         `json:"item_id,omitempty"`
	OutputIndex  *int           `json:"output_index,omitempty"`
	ContentIndex *int           `json:"content_index,omitempty"`
	Item         *OutputItem    `json:"item,omitempty"`
	Part         *ContentPart   `json:"part,omitempty"`
	Delta        string         `json:"delta,omitempty"`
	Text         *string        `json:"text,omitempty"`
	Name         string         `json:"name,omitempty"`
	Arguments    *string        `json:"arguments,omitempty"`
	Logprobs     []TokenLogprob `json:"logprobs,omitzero"`
	Code         *string        `json:"code,omitempty"` // of an error
	Message      string         `json:"message,omitempty"`
	Param        *string        `json:"param,omitempty"`
}
