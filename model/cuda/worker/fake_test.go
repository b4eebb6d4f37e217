//go:build linux

package worker

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/cuda"
	"github.com/warmserve/warmserve/model/cuda/driver"
	device "github.com/warmserve/warmserve/model/cuda/kernel"
	"github.com/warmserve/warmserve/model/cuda/ptx"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/plan"
)

// Environment of the fake workers, which this program is, started once more.
const (
	fakeVariable = "WARM_TEST_CARD" // what happens: see fakeOpen
	onceVariable = "WARM_TEST_ONCE" // a file: what a token makes happen, happens while it is there
	roleVariable = "WARM_TEST_ROLE" // parent: see parent
)

func TestMain(m *testing.M) {
	if card := os.Getenv(variable); card != "" {
		fakeSocket, _ = unix.Dup(workSocket) // which is closed when the connection has it
		os.Exit(run(card, fakeOpen))
	}
	if os.Getenv(roleVariable) == "parent" {
		parent()
	}
	os.Exit(m.Run())
}

// fakeSocket is a fake worker's socket.
var fakeSocket int

// Tokens that make something happen in a fake worker.
const (
	tokenExit = 50 + iota
	tokenHang
	tokenFault
	tokenPanic
	tokenRefuse
	tokenSlow
	tokenGarbage // and what follows it is which kind
)

// fakeBackend computes with no card: see outputOf.
type fakeBackend struct {
	ordinal int
	idle    bool          // nothing is computed
	took    time.Duration // a batch, if idle, in which a thread polls, as it does a card
	models  atomic.Int64
	filled  atomic.Int64 // bytes
}

// fakeOpen opens a card whose behaviour the environment says.
func fakeOpen(ordinal int) (backend, error) {
	kind, value, _ := strings.Cut(os.Getenv(fakeVariable), "=")
	switch kind {
	case "none":
		return nil, &driver.LibraryError{Reason: "no libcuda.so.1 (not found)", Remedy: "install NVIDIA's driver"}
	case "broken":
		return nil, &driver.Error{Call: "cuInit", Code: 803, Name: "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
			Text: "system has unsupported display driver / cuda driver combination"}
	case "slow":
		time.Sleep(time.Hour)
	case "second":
		if ordinal > 0 {
			return nil, &driver.NoCardError{Ordinal: ordinal, Count: 1}
		}
	case "interpreter": // a real engine, which runs the kernels that ship
		capability, err := strconv.Atoi(value)
		return newEngine(small{ptx.NewDevice(1, 2, capability)}), err
	case "idle":
		took, err := strconv.Atoi(value)
		return &fakeBackend{ordinal: 1, idle: true, took: time.Duration(took)}, err
	case "card": // a real one, whose kernels can be made to fault
		b, err := openCard(ordinal)
		if err != nil {
			return nil, err
		}
		return &faulty{b.(*engine)}, nil
	case "cards":
		n, err := strconv.Atoi(value)
		return &fakeBackend{ordinal: n}, err
	}
	return &fakeBackend{ordinal: 1}, nil
}

// faulty is a real card that faults when a token wants it.
type faulty struct{ *engine }

func (f *faulty) load(c *model.Config, d kernel.DType, weights io.ReaderAt, bytes int) (resident, error) {
	m, err := f.engine.load(c, d, weights, bytes)
	if err != nil {
		return nil, err
	}
	return &faultyModel{m, f.engine.device}, nil
}

type faultyModel struct {
	resident
	device cuda.Device
}

func (m *faultyModel) score(seqs []plan.Sequence, outputs []float32) error {
	if seqs[0].IDs[0] == tokenFault && once("score") {
		header, err := m.device.Alloc(8)
		if err == nil {
			err = m.device.Write(header, []byte{1, 0, 0, 0, 0, 0, 0, 0})
		}
		if err == nil { // at addresses where nothing is
			nothing := device.Rows{Y: 64, X: 64, Index: 64, Header: header, N: 8}
			err = m.device.Launch(device.Table["lookup_f32"], 1, device.Bytes(nothing))
		}
		if err != nil {
			return err
		}
	}
	return m.resident.score(seqs, outputs)
}

// small is a card with little memory.
type small struct{ cuda.Device }

func (s small) Limits() cuda.Limits {
	l := s.Device.Limits()
	l.Free, l.Memory = 48<<20, 64<<20
	return l
}

func (b *fakeBackend) hello() hello {
	return hello{Name: "Fake", Capability: 90, SMs: 132, Driver: "580.1 (CUDA 13.0)", Memory: 80 << 30,
		Cards: b.ordinal}
}

// Stats tells the number of models, of this process and of bytes of weights, as tests want to know them.
func (b *fakeBackend) Stats() (driver.Stats, error) {
	return driver.Stats{Free: b.models.Load(), Total: int64(os.Getpid()), Power: 500,
		Memory: int(b.filled.Load())}, nil
}

// tooLarge is a width of models that do not fit.
const tooLarge = 96

func (b *fakeBackend) load(c *model.Config, d kernel.DType, weights io.ReaderAt,
	bytes int) (resident, error) {
	if c.Hidden == tooLarge {
		return nil, fmt.Errorf("weights: %w", &driver.MemoryError{Asked: 5 << 30, Free: 3 << 30, Total: 80 << 30})
	}
	if once("load") {
		os.Exit(9)
	}
	b.models.Add(1)
	return &fakeModel{b: b, weights: weights, missing: bytes, n: c.Network().Head.Outputs()}, nil
}

// fakeLongest is how many tokens a fake takes of a sequence, which is less than the context.
const fakeLongest = 8000

type fakeModel struct {
	b       *fakeBackend
	weights io.ReaderAt
	image   []byte
	missing int
	sum     float32
	n       int
}

// fill copies the bytes, as a card does: what is written later counts no more.
func (m *fakeModel) fill(at, bytes int) error {
	if m.image == nil {
		m.image = make([]byte, m.missing)
	}
	m.missing -= bytes
	m.b.filled.Add(int64(bytes))
	_, err := m.weights.ReadAt(m.image[at:at+bytes], int64(at))
	return err
}

func (m *fakeModel) finish() error {
	if m.missing > 0 {
		return fmt.Errorf("%d bytes of weights are missing", m.missing)
	}
	m.sum = sumOf(bytes.NewReader(m.image), len(m.image))
	return nil
}

func (m *fakeModel) bytes() int64 { return 12345 }
func (m *fakeModel) longest() int { return fakeLongest }
func (m *fakeModel) outputs() int { return m.n }
func (m *fakeModel) free()        { m.b.models.Add(-1) }

func (m *fakeModel) score(seqs []plan.Sequence, outputs []float32) error {
	if m.b.idle {
		for begun := time.Now(); time.Since(begun) < m.b.took; {
		}
		return nil
	}
	at := 0
	for i := range seqs {
		s := &seqs[i]
		if err := happen(s.IDs); err != nil {
			return err
		}
		for j := range s.Rows() {
			for k := range m.n {
				outputs[at] = outputOf(m.sum, s.IDs[:s.Row(j)+1], s.Types, k)
				at++
			}
		}
	}
	return nil
}

// sumOf stands for the weights in what the fake computes.
func sumOf(weights io.ReaderAt, bytes int) float32 {
	h := fnv.New32a()
	if n, err := io.Copy(h, io.NewSectionReader(weights, 0, int64(bytes))); err != nil || n != int64(bytes) {
		panic(fmt.Sprintf("%d bytes of weights of %d: %v", n, bytes, err))
	}
	return float32(h.Sum32() % 1000)
}

// outputOf is what the fake computes of a token.
func outputOf(sum float32, ids, types []int32, k int) float32 {
	v := sum + float32(k)/4
	for i, id := range ids {
		v += float32(int(id)*(i+1)) / 8
		if types != nil {
			v += float32(types[i]) * 100
		}
	}
	return v
}

// once reports whether something is to happen, when it does for the only time.
func once(what string) bool {
	file := os.Getenv(onceVariable)
	return file != "" && os.Remove(file+what) == nil
}

// happen does what the first token wants.
func happen(ids []int32) error {
	if ids[0] < tokenExit || os.Getenv(onceVariable) != "" && !once("score") {
		return nil
	}
	switch ids[0] {
	case tokenExit:
		os.Exit(9)
	case tokenHang:
		time.Sleep(time.Hour)
	case tokenFault:
		return fmt.Errorf("batch: %w", &driver.Error{Call: "cuStreamSynchronize", Code: 700,
			Name: "CUDA_ERROR_ILLEGAL_ADDRESS", Text: "an illegal memory access was encountered"})
	case tokenPanic:
		panic("a bug of the engine")
	case tokenRefuse:
		return errors.New("refused")
	case tokenSlow:
		time.Sleep(time.Duration(ids[1]) * 20 * time.Millisecond)
	case tokenGarbage:
		if _, err := unix.Write(fakeSocket, garbage[ids[1]].frame); err != nil {
			panic(err)
		}
		time.Sleep(time.Hour)
	}
	return nil
}

// garbage are frames that make no sense, the answer to request 2 (the first is the load).
var garbage = []struct {
	name  string
	frame []byte
}{
	{"no frame", []byte("HTTP/1.1 400 Bad Request\r\n\r\n")},
	{"more than there is memory", appendHeader(nil, header{size: 1<<31 - 1, kind: kindDone, id: 2})},
	{"too large an error", appendHeader(nil, header{size: maxControl + 1, kind: kindFailed, id: 2})},
	{"unknown kind", appendHeader(nil, header{kind: 99, id: 2})},
	{"a request", appendHeader(nil, header{kind: kindScore, id: 2})},
	{"an answer to nothing", appendHeader(nil, header{kind: kindDone, id: 77})},
	{"too few outputs", appendHeader(nil, header{kind: kindDone, id: 2})},
	{"too many outputs", append(appendHeader(nil, header{size: 4000, kind: kindDone, id: 2}),
		make([]byte, 4000)...)},
	{"an error without words", append(appendHeader(nil, header{size: 3, kind: kindFailed, id: 2}), "abc"...)},
}

// fakeOptions are those of cards whose workers are this test program.
func fakeOptions(environment ...string) Options {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return Options{Patience: 10 * time.Second, floor: time.Second, first: 10 * time.Second,
		pause: 200 * time.Millisecond,
		command: func() *exec.Cmd {
			cmd := exec.Command(self)
			cmd.Env = append(os.Environ(), environment...)
			return cmd
		}}
}

// fakeCards opens such cards.
func fakeCards(t *testing.T, spec string, o Options) *Cards {
	t.Helper()
	c, err := Open(spec, o)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// tinyJSON is the configuration of a model of a width.
func tinyJSON(hidden int) string {
	return fmt.Sprintf(`{"architectures":["LlamaForSequenceClassification"],"hidden_size":%d,
		"intermediate_size":48,"num_hidden_layers":1,"num_attention_heads":4,"vocab_size":64,
		"max_position_embeddings":8192,"id2label":{"0":"LABEL_0"}}`, hidden)
}

// tiny is the same.
func tiny(t testing.TB, hidden int) *model.Config {
	c, err := model.ParseConfig([]byte(tinyJSON(hidden)))
	require.NoError(t, err)
	return c
}

// loadTiny loads a model of random weights.
func loadTiny(t testing.TB, c *Cards, seed uint64) *Model {
	m, err := c.Load(tiny(t, 32), model.NewRandom(tiny(t, 32), seed),
		model.LoadOptions{DType: kernel.BFloat16, Workers: 1})
	require.NoError(t, err)
	return m.(*Model)
}

// sequence is one of ids, read at its end.
func sequence(ids ...int32) model.Sequence {
	return model.Sequence{IDs: ids, Read: []int32{int32(len(ids) - 1)}}
}

// scoreOf is what a model gives a sequence.
func scoreOf(t testing.TB, m *Model, ids ...int32) float32 {
	var dst [1]float32
	require.NoError(t, m.cards.Score(m, dst[:], []model.Sequence{sequence(ids...)}))
	return dst[0]
}

// want is what it should.
func want(t testing.TB, m *Model, ids ...int32) float32 {
	return outputOf(sumOf(m.room, int(m.size)), ids, nil, 0)
}

// pid is the process of a card's worker, 0 while there is none.
func pid(c *Cards, card int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.cards[card].worker(); p != nil {
		return p.cmd.Process.Pid
	}
	return 0
}

// kill kills a card's worker, as soon as there is one, and returns which it was.
func kill(t *testing.T, c *Cards, card int) int {
	var p int
	require.Eventually(t, func() bool { p = pid(c, card); return p > 0 }, 20*time.Second, time.Millisecond)
	require.NoError(t, syscall.Kill(p, syscall.SIGKILL))
	return p
}
