package kernel

import "unsafe"

// Ptr is an address in a device's memory; 0 is none.
type Ptr uint64

// Rows are the parameters of kernels that work on rows one by one.
type Rows struct {
	Y, X, Z  Ptr // out, in, added
	W, B     Ptr // float32, a value for each column; B may be 0 where the kernel says so
	Index    Ptr // int32: lookup: row of X; rotate: row of Turn; neighbours, mean: first row of the sequence
	Until    Ptr // int32: neighbours, mean: row behind the sequence's last
	Turn     Ptr // rotate: (rows, Pairs) of float32 {cos, sin}
	Header   Ptr // int32
	At, N    int32
	LDY, LDX int32 // values between rows, as all ld
	LDZ      int32
	Heads    int32   // rmsnorm, rotate: the first so many heads of N columns each; 0: rmsnorm of whole rows
	Pairs    int32   // rotate: columns i and i+Pairs of a head are turned
	Act      int32   // activate: an nn.Activation
	Kernel   int32   // neighbours: how many tokens, an odd number
	Eps      float32 // rmsnorm, layernorm
	Factor   float32 // scale
	_        int32
}

// Score are the parameters of score heads and routers: y[r·N+j] = w[j]·x[r] + b[j].
type Score struct {
	Y, X, W, B Ptr // Y, W and B are float32; B may be 0
	Header     Ptr
	At, C, N   int32
	LDX        int32
}

// Product are the parameters of C[M,N] = epilogue(A[M,K]·W[N,K]ᵀ): the float32 sum and
// Bias, then Act, rounded, plus R, rounded. The rows of W and values of Bias of a gated
// product are eight of the gate, eight of the up projection, and so on; the last group of
// each has what is left. Products of e4m3 count pairs of values in K, LDA and their maps.
type Product struct {
	A, W, C, R Ptr // R: what is added, which may be C; 0 for nothing
	Bias       Ptr // float32, N values; 0 for none
	Header     Ptr
	// Tensor maps in device memory, of wgmma kernels. Boxes of A have TileM rows, of W
	// TileN/Cluster, of C and R Box; RMap is for residual alone.
	AMap, WMap, CMap, RMap Ptr
	At, From               int32 // M = header[At]; the first row of A, C and R is header[From], 0 when From < 0
	N, K                   int32 // gated: N counts the rows of W, C has N/2 columns
	LDA, LDC, LDR          int32
	Act                    int32 // an nn.Activation; gated: of the gate
	// Of the heads epilogue of wgmma kernels.
	Pos, Turn    Ptr // of each row its position; (positions, D/2) of {cos, sin}
	QNorm, KNorm Ptr // float32 weights of a head; 0 for none
	QHeads       int32
	KHeads       int32
	Eps          float32
	// Of products of e4m3 Scales are by column, float32. Normed products read rows that were not
	// normalised and divide their results as RMSNorm does, Floor being its eps, by sums of squares of A,
	// K/32 of each row; normed residual leaves such sums of what it stores.
	Floor  float32
	Scales Ptr
}

// Task is a run of up to [TaskQueries] queries of one sequence, one behind the other.
type Task struct {
	Row, N, At          int32 // first row in q and out, how many, position of the first
	Prefix, Shared, Own int32 // row of the shared prefix, its length (a multiple of 128), row of the first token behind it
	Keys                int32 // of the sequence, the prefix's among them; causal: at least At+N
	_                   int32
}

// TaskQueries is how many queries a task has at most.
const TaskQueries = 128

// Attend are the parameters of attention over a list of tasks.
type Attend struct {
	Q, K, V, O       Ptr
	Tasks            Ptr // [Task]
	Header           Ptr // header[At] tasks
	QMap, KVMap      Ptr // tensor maps in device memory, of wgmma kernels
	At               int32
	Heads, KVHeads   int32
	D                int32 // values of a head
	LDQ, LDKV, LDO   int32
	QCol, KCol, VCol int32 // columns of the first heads in the maps' matrices
	Causal           int32 // 0 or 1
	Window, Reach    int32 // as nn.Attention
	Scale, SoftCap   float32
	_                int32
	// Relative positions: projected tables, row r of head h at (h·Rows+r)·D; 0 for none.
	// The score of a query and a key is q·k + q·PK[r] + k·PQ[r], where
	// r = Bucket[Most−1 + position of the query − position of the key].
	PK, PQ     Ptr
	Bucket     Ptr // int32, 2·Most−1 values
	Rows, Most int32
}

// Route are the parameters of choose and sort, which find the experts of each row. With
// taken = Top + Experts − Chosen experts to a row, which stand in ascending order:
//
//	Expert[r·taken+j]  which the j-th expert is
//	Weight[r·taken+j]  by what its output is multiplied
//	Place[r·taken+j]   the row that it has in the gathered matrix: experts one behind the other, rows in their order
//	Row[p]             the row that row p of the gathered matrix is
//	Header[Counts+e], Header[Offsets+e]   how many rows expert e has there, and which is the first; Offsets has Experts+1 values
type Route struct {
	Logits          Ptr // float32 (rows, Experts), of a router
	Place, Weight   Ptr
	Row, Expert     Ptr
	Header          Ptr
	At              int32
	Experts, Chosen int32 // experts in all, and to choose from: those behind are taken by every row, by a sigmoid
	Top             int32 // how many are chosen
	Normalized      int32 // 1: the weights of the chosen are divided by their sum
	Counts, Offsets int32
	_               int32
}

// Combine are the parameters of y[r] = z[r] + Σ_j Weight[r·Taken+j]·x[Place[r·Taken+j]].
type Combine struct {
	Y, Z, X       Ptr // Y may be Z
	Place, Weight Ptr
	Header        Ptr
	At, N, Taken  int32
	LDY, LDZ, LDX int32
}

// Quantize are the parameters of what makes e4m3 of rows, as products of that read them.
type Quantize struct {
	Y, X     Ptr
	Header   Ptr
	At, From int32 // header[At] rows; the first of Y and X is header[From], 0 when From < 0
	N, K     int32 // values of a row, and bytes of one: [E4M3Width], with zeros behind N
	LDY, LDX int32 // bytes and values between rows
}

// Args is one of the parameter structs.
type Args interface {
	Rows | Score | Product | Attend | Route | Combine | Quantize
}

// Bytes returns the bytes of a kernel's parameters as the device reads them.
func Bytes[A Args](a A) []byte {
	out := make([]byte, unsafe.Sizeof(a))
	copy(out, unsafe.Slice((*byte)(unsafe.Pointer(&a)), len(out)))
	return out
}
