package ollama

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/salver-ml/salver/internal/openaiapi/answer"
	"github.com/salver-ml/salver/internal/openaiapi/reply"
	"github.com/salver-ml/salver/internal/textgen"
)

// piece is what an answer gained.
type piece struct {
	content, thinking string
	calls             []toolCall
	finish            string
}

type functionCall struct {
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
}

// sink takes pieces and sends them line by line, or all at the end. Calls of
// tools are sent whole.
type sink struct {
	q     *request
	form  func(*line, *piece)
	out   *reply.Stream // nil: all at the end
	whole piece
	open  []answer.Call // calls that still grow
}

func newSink(w http.ResponseWriter, q *request, form func(*line, *piece)) *sink {
	s := &sink{q: q, form: form}
	if !q.whole {
		s.out = reply.Lines(w)
	}
	return s
}

func (s *sink) turn(p *answer.Piece) error {
	out := piece{finish: p.Finish}
	for i := range p.Deltas {
		d := &p.Deltas[i]
		out.content += d.Content
		out.thinking += d.Reasoning
		for _, c := range d.ToolCalls {
			if c.Index == len(s.open) {
				s.open = append(s.open, answer.Call{ID: c.ID, Name: c.Name})
			}
			s.open[c.Index].Arguments += c.Arguments
		}
	}
	if p.Finish != "" {
		for _, c := range s.open {
			out.calls = append(out.calls, toolCall{c.ID, functionCall{c.Name, answer.Object(c.Arguments)}})
		}
	}
	return s.add(&out)
}

// add sends a piece, or keeps it.
func (s *sink) add(p *piece) error {
	if s.out == nil {
		s.whole.content += p.content
		s.whole.thinking += p.thinking
		s.whole.calls = append(s.whole.calls, p.calls...)
	}
	if p.finish != "" {
		s.whole.finish = p.finish
	}
	if s.out == nil || p.content == "" && p.thinking == "" && p.calls == nil {
		return nil
	}
	l := s.line()
	s.form(l, p)
	return s.out.Send(l)
}

func (s *sink) line() *line { return &line{Model: s.q.model, CreatedAt: time.Now().UTC()} }

// finish sends the last line, or the whole answer.
func (s *sink) finish(w http.ResponseWriter, u *textgen.Usage) {
	l := s.line()
	s.form(l, &s.whole)
	l.Done, l.DoneReason, l.timing = true, s.whole.finish, newTiming(u)
	if l.DoneReason == "tool_calls" {
		l.DoneReason = "stop"
	}
	if s.out != nil {
		s.out.Send(l)
		return
	}
	reply.JSON(w, http.StatusOK, l)
}
