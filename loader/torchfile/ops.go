package torchfile

import (
	"math"
	"math/bits"
)

// The operations of pickles that torch writes, by their names in CPython's pickletools.
const (
	opMark            = '('
	opStop            = '.'
	opBinFloat        = 'G'
	opBinInt          = 'J'
	opBinInt1         = 'K'
	opBinInt2         = 'M'
	opNone            = 'N'
	opBinPersID       = 'Q'
	opReduce          = 'R'
	opBinUnicode      = 'X'
	opAppend          = 'a'
	opBuild           = 'b'
	opGlobal          = 'c'
	opAppends         = 'e'
	opBinGet          = 'h'
	opLongBinGet      = 'j'
	opBinPut          = 'q'
	opLongBinPut      = 'r'
	opSetItem         = 's'
	opTuple           = 't'
	opSetItems        = 'u'
	opEmptyTuple      = ')'
	opEmptyList       = ']'
	opEmptyDict       = '}'
	opProto           = 0x80
	opTuple1          = 0x85
	opTuple2          = 0x86
	opTuple3          = 0x87
	opTrue            = 0x88
	opFalse           = 0x89
	opLong1           = 0x8a
	opShortBinUnicode = 0x8c
	opBinUnicode8     = 0x8d
	opStackGlobal     = 0x93
	opMemoize         = 0x94
	opFrame           = 0x95
	opBinBytes        = 'B'
	opShortBinBytes   = 'C'
)

// operations says what each does; its argument is read by the machine.
var operations = map[byte]func(m *machine){
	opMark:            func(m *machine) { m.push(mark{}) },
	opNone:            func(m *machine) { m.push(nil) },
	opTrue:            func(m *machine) { m.push(true) },
	opFalse:           func(m *machine) { m.push(false) },
	opEmptyTuple:      func(m *machine) { m.push(tuple{}) },
	opEmptyList:       func(m *machine) { m.push(&list{}) },
	opEmptyDict:       func(m *machine) { m.push(&dict{}) },
	opBinFloat:        func(m *machine) { m.push(math.Float64frombits(bits.ReverseBytes64(m.number(8)))) },
	opBinInt1:         func(m *machine) { m.push(int64(m.number(1))) },
	opBinInt2:         func(m *machine) { m.push(int64(m.number(2))) },
	opBinInt:          func(m *machine) { m.push(int64(int32(m.number(4)))) }, // which alone has a sign
	opBinUnicode:      func(m *machine) { m.text(4) },
	opShortBinUnicode: func(m *machine) { m.text(1) },
	opBinUnicode8:     func(m *machine) { m.text(8) },
	opLong1:           func(m *machine) { m.push(long(m.sized(1))) },
	opBinBytes:        func(m *machine) { m.push(raw(m.sized(4))) },
	opShortBinBytes:   func(m *machine) { m.push(raw(m.sized(1))) },
	opTuple1:          func(m *machine) { m.push(tuple(m.popN(1))) },
	opTuple2:          func(m *machine) { m.push(tuple(m.popN(2))) },
	opTuple3:          func(m *machine) { m.push(tuple(m.popN(3))) },
	opTuple:           func(m *machine) { m.push(tuple(m.popMark())) },
	opBinPut:          func(m *machine) { m.remember(m.number(1)) },
	opLongBinPut:      func(m *machine) { m.remember(m.number(4)) },
	opMemoize:         func(m *machine) { m.remember(uint64(len(m.memo))) },
	opBinGet:          func(m *machine) { m.recall(m.number(1)) },
	opLongBinGet:      func(m *machine) { m.recall(m.number(4)) },
	opAppend:          func(m *machine) { m.append(m.popN(1)) },
	opAppends:         func(m *machine) { m.append(m.popMark()) },
	opSetItem:         func(m *machine) { m.setItems(m.popN(2)) },
	opSetItems:        func(m *machine) { m.setItems(m.popMark()) },
	opGlobal:          func(m *machine) { m.global(m.line(), m.line()) },
	opStackGlobal:     (*machine).stackGlobal,
	opBinPersID:       (*machine).persistent,
	opReduce:          (*machine).reduce,
	opBuild:           (*machine).build,
	opProto: func(m *machine) {
		if version := m.number(1); version < 2 || version > 5 {
			m.bad("protocol %d, want 2 to 5", version)
		}
	},
	opFrame: func(m *machine) {
		if size := m.number(8); size > uint64(m.end-m.at) {
			m.bad("a frame of %d bytes goes beyond the end", size)
		}
	},
}

func (m *machine) append(items []any) {
	top := m.top()
	l, ok := top.(*list)
	if !ok {
		m.bad("it appends to %s", kindOf(top))
		return
	}
	l.items = append(l.items, items...)
}

func (m *machine) setItems(items []any) {
	top := m.top()
	d, ok := top.(*dict)
	if !ok || len(items)%2 != 0 {
		m.bad("it sets %d keys and values of %s", len(items), kindOf(top))
		return
	}
	for i := 0; i < len(items); i += 2 {
		d.keys, d.values = append(d.keys, items[i]), append(d.values, items[i+1])
	}
}
