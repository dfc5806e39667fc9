package llm

import (
	"sync"
	"time"

	"github.com/salver-ml/salver/internal/llm/kv"
	"github.com/salver-ml/salver/internal/llm/sample"
	"github.com/salver-ml/salver/internal/textgen"
)

// request is one call of Generate while the engine works on it.
type request struct {
	*textgen.Request
	choices  int // sequences that are computed: BestOf
	seed     uint64
	arrived  time.Time
	admitted time.Time // first of all
	number   uint64    // of arrival
	usage    textgen.Usage
	out      *queue
	forked   bool // the choices beyond the first exist
	open     int  // sequences that have not finished
	// visit, if it is not nil, sees the logits at each token of the prompt but the last.
	visit func(position int, logits []float32)
}

// sequence is one answer in the making: the tokens of the prompt and those that
// were generated, the first computed of which have their keys and values in blocks.
type sequence struct {
	*request
	choice   int
	tokens   []int32
	prompt   int // tokens
	computed int
	blocks   []int32
	key      kv.Key // of the last block that was published
	sampler  *sample.Sampler
	echo     []textgen.Token // the tokens of the prompt with their probabilities, as far as they are wanted and known
	done     bool
}

func newSequence(r *request, choice int) *sequence {
	return &sequence{request: r, choice: choice, tokens: append(make([]int32, 0, len(r.Prompt)+64), r.Prompt...), prompt: len(r.Prompt),
		key: kv.Root(r.Tenant), sampler: sample.New(r.Sampling, r.Prompt, r.seed, choice)}
}

// generated is how many tokens the answer has.
func (q *sequence) generated() int { return len(q.tokens) - q.prompt }

// left is how many tokens are to be computed before the next one can be chosen.
func (q *sequence) left() int { return len(q.tokens) - q.computed }

// echoing reports whether probabilities of the prompt are wanted that are not known yet:
// its tokens are computed for them, though the cache may hold their keys and values.
func (q *sequence) echoing() bool { return q.PromptLogprobs >= 0 && len(q.echo) < q.prompt-1 }

// wants reports whether the logits at a position are needed.
func (q *sequence) wants(position int) bool {
	return position == len(q.tokens)-1 || q.echoing() && position < q.prompt-1 && position >= len(q.echo)
}

// piece is what the engine tells the goroutine that waits for a request.
type piece struct {
	choice int
	token  textgen.Token
	end    bool // a token that ends the answer and has no text
	prompt []textgen.Token
	finish textgen.Finish
	err    error
}

// queue hands pieces over without ever making the engine wait.
type queue struct {
	mu     sync.Mutex
	pieces []piece
	ready  chan struct{} // holds one item while there are pieces
}

func newQueue() *queue { return &queue{ready: make(chan struct{}, 1)} }

func (q *queue) put(p piece) {
	q.mu.Lock()
	q.pieces = append(q.pieces, p)
	q.mu.Unlock()
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// take gives all pieces there are, using buf.
func (q *queue) take(buf []piece) []piece {
	q.mu.Lock()
	defer q.mu.Unlock()
	buf = append(buf[:0], q.pieces...)
	clear(q.pieces)
	q.pieces = q.pieces[:0]
	return buf
}
