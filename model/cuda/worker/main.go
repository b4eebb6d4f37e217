package worker

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/cuda/driver"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/plan"
)

// variable is the environment's that makes a process a worker: the number of its card.
const variable = "WARM_CUDA_WORKER"

// Numbers of the files that are a worker's ends: of its work, and of talk of what it does.
const (
	workSocket = 3
	talkSocket = 4
)

// Exit codes of a worker.
const (
	exitOrphan = 0 // nobody is there to work for
	exitOpen   = 2 // the card could not be opened
	exitLost   = 3 // the card is lost to the process
	exitBroken = 4 // a frame made no sense
)

// backend is a card with an engine. Only Stats is called by several goroutines at once.
type backend interface {
	hello() hello
	// load takes the card's memory for a model and its packed weights, which come by fill.
	load(c *model.Config, d kernel.DType, weights io.ReaderAt, bytes int) (resident, error)
	Stats() (driver.Stats, error)
}

// resident is a model on a card.
type resident interface {
	bytes() int64
	longest() int // tokens of a sequence
	outputs() int // of a token
	// fill brings bytes of the weights, from one on, to the card; finish comes when all are there, and
	// before the first score.
	fill(at, bytes int) error
	finish() error
	// score writes the outputs of all sequences one behind the other.
	score(seqs []plan.Sequence, outputs []float32) error
	free()
}

// called is whether this program can be a worker.
var called atomic.Bool

// Main is a worker's life, if this process was started as one: then it does not return. It
// comes first in a program's main function, before flags are read or signals caught. A program
// that does not call it cannot [Open] cards.
func Main() {
	called.Store(true)
	if card := os.Getenv(variable); card != "" {
		os.Exit(run(card, openCard))
	}
}

// run works on a card until the other process is gone.
func run(card string, open func(ordinal int) (backend, error)) int {
	// The end of the other process, which may want batches yet, is the end of this one.
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	work, err := newLine(workSocket)
	var talk *net.UnixConn
	if err == nil {
		talk, err = connection(os.NewFile(talkSocket, "worker"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "warm: a worker is started by warm itself:", err)
		return exitOpen
	}
	runtime.LockOSThread() // contexts and graphs stay with one thread
	w := &worker{work: work, models: map[uint64]*held{}}
	go w.listen(talk) // before the card is opened, which may take long, and end early
	ordinal, err := strconv.Atoi(card)
	if err == nil {
		w.backend, err = open(ordinal)
	}
	if err != nil {
		w.fail(0, err)
		return exitOpen
	}
	w.ready.Store(true)
	w.answer(header{kind: kindHello}, w.backend.hello())
	for {
		h, payload, files, err := w.work.receive()
		if err != nil {
			return exitOrphan
		}
		w.do(request{h, payload, files})
	}
}

// worker is a worker's end.
type worker struct {
	work    *line
	backend backend
	models  map[uint64]*held
	batch   batch
	outputs []float32
	frame   []byte
	ready   atomic.Bool // the backend is there
}

// held is a model, which has its weights' files until all of them are on the card.
type held struct {
	resident
	files []*os.File
	ready bool
	took  finished
}

// request is a frame to be worked on, whose payload is used again for the next.
type request struct {
	header
	payload []byte
	files   []*os.File // of the weights, for a load
}

// listen answers what is asked of this process until the other one is gone, and this one with it,
// whatever the card is doing.
func (w *worker) listen(talk *net.UnixConn) {
	var b [headerBytes]byte
	for {
		if _, err := io.ReadFull(talk, b[:]); err != nil {
			os.Exit(exitOrphan)
		}
		h, err := parseHeader(b[:])
		if err != nil {
			os.Exit(exitBroken)
		}
		var s driver.Stats
		if w.ready.Load() {
			s, _ = w.backend.Stats() // what is not known is zero
		}
		if _, err := talk.Write(frameOf(header{kind: kindDone, id: h.id}, s)); err != nil {
			os.Exit(exitOrphan)
		}
	}
}

// do carries out a request.
func (w *worker) do(r request) {
	var err error
	switch r.kind {
	case kindLoad:
		err = w.load(r)
	case kindFill:
		err = w.fill(r)
	case kindFinish:
		err = w.finish(r)
	case kindUnload:
		err = w.unload(r)
	case kindScore:
		err = w.score(r)
	default:
		err = fmt.Errorf("%w: a request of kind %d", errProtocol, r.kind)
	}
	if err != nil {
		w.fail(r.id, err)
	}
}

func (w *worker) load(r request) error {
	begun := time.Now()
	kept := false
	defer func() {
		if !kept {
			closeAll(r.files)
		}
	}()
	var l load
	if err := json.Unmarshal(r.payload, &l); err != nil {
		return fmt.Errorf("%w: %w", errProtocol, err)
	}
	c := new(model.Config)
	if err := json.Unmarshal(l.Config, c); err != nil {
		return fmt.Errorf("%w: %w", errProtocol, err)
	}
	d, err := kernel.ParseDType(l.DType)
	if err != nil {
		return err
	}
	weights, err := roomOf(r.files, l.Bytes)
	if err != nil {
		return err
	}
	m, err := w.backend.load(c, d, weights, int(l.Bytes))
	if err != nil {
		return err
	}
	kept = true
	w.models[l.Model] = &held{resident: m, files: r.files, took: finished{Begin: time.Since(begun)}}
	w.answer(header{kind: kindDone, id: r.id}, loaded{Bytes: m.bytes(), Longest: m.longest()})
	return nil
}

func (w *worker) fill(r request) error {
	begun := time.Now()
	var f fill
	if err := json.Unmarshal(r.payload, &f); err != nil {
		return fmt.Errorf("%w: %w", errProtocol, err)
	}
	m, ok := w.models[f.Model]
	if !ok || m.ready {
		return fmt.Errorf("%w: model %d wants no weights", errProtocol, f.Model)
	}
	for _, s := range f.Spans {
		if err := m.fill(int(s.At), int(s.Bytes)); err != nil {
			return err
		}
	}
	m.took.Fill += time.Since(begun)
	w.answer(header{kind: kindDone, id: r.id}, nil)
	return nil
}

func (w *worker) finish(r request) error {
	begun := time.Now()
	var id uint64
	if err := json.Unmarshal(r.payload, &id); err != nil {
		return fmt.Errorf("%w: %w", errProtocol, err)
	}
	m, ok := w.models[id]
	if !ok || m.ready {
		return fmt.Errorf("%w: model %d wants no end", errProtocol, id)
	}
	if err := m.finish(); err != nil {
		return err
	}
	m.ready = true
	closeAll(m.files)
	m.took.Finish = time.Since(begun)
	w.answer(header{kind: kindDone, id: r.id}, m.took)
	return nil
}

func (w *worker) unload(r request) error {
	var id uint64
	if err := json.Unmarshal(r.payload, &id); err != nil {
		return fmt.Errorf("%w: %w", errProtocol, err)
	}
	if m, ok := w.models[id]; ok {
		delete(w.models, id)
		m.free()
		if !m.ready {
			closeAll(m.files)
		}
	}
	w.answer(header{kind: kindDone, id: r.id}, nil)
	return nil
}

func (w *worker) score(r request) error {
	if err := w.batch.decode(r.payload); err != nil {
		return err
	}
	m, ok := w.models[w.batch.model]
	if !ok || !m.ready {
		return fmt.Errorf("%w: model %d is not loaded", errProtocol, w.batch.model)
	}
	rows := 0
	for i := range w.batch.seqs {
		rows += w.batch.seqs[i].Rows()
	}
	if n := rows * m.outputs(); cap(w.outputs) < n {
		w.outputs = make([]float32, n)
	}
	outputs := w.outputs[:rows*m.outputs()]
	if err := m.score(w.batch.seqs, outputs); err != nil {
		return err
	}
	w.frame = appendHeader(w.frame[:0], header{size: 4 * len(outputs), kind: kindDone, id: r.id})
	w.frame = appendFloats(w.frame, outputs)
	w.write(w.frame)
	return nil
}

// frameOf is a frame whose payload is a value.
func frameOf(h header, v any) []byte {
	payload, err := json.Marshal(v)
	if err != nil {
		panic(err) // of our own types
	}
	h.size = len(payload)
	return append(appendHeader(nil, h), payload...)
}

// answer sends a value.
func (w *worker) answer(h header, v any) { w.write(frameOf(h, v)) }

// fail sends an error, and ends the process when it cannot go on.
func (w *worker) fail(id uint64, err error) {
	f := failureOf(err)
	w.answer(header{kind: kindFailed, id: id}, f)
	if f.Lost {
		os.Exit(exitLost)
	}
}

func (w *worker) write(frame []byte) {
	if _, err := w.work.Write(frame); err != nil {
		os.Exit(exitOrphan)
	}
}
