package torchfile

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

// pushed says of operations that push one value how: the operation's argument is read by the machine.
var pushed = map[byte]func(m *machine) error{
	opMark:            func(m *machine) error { return m.push(mark{}) },
	opNone:            func(m *machine) error { return m.push(nil) },
	opTrue:            func(m *machine) error { return m.push(true) },
	opFalse:           func(m *machine) error { return m.push(false) },
	opEmptyTuple:      func(m *machine) error { return m.push(tuple{}) },
	opEmptyList:       func(m *machine) error { return m.push(&list{}) },
	opEmptyDict:       func(m *machine) error { return m.push(&dict{}) },
	opBinFloat:        (*machine).float,
	opBinInt1:         func(m *machine) error { return m.pushNumber(1) },
	opBinInt2:         func(m *machine) error { return m.pushNumber(2) },
	opBinInt:          func(m *machine) error { return m.pushNumber(4) },
	opBinUnicode:      func(m *machine) error { return m.text(4) },
	opShortBinUnicode: func(m *machine) error { return m.text(1) },
	opBinUnicode8:     func(m *machine) error { return m.text(8) },
	opLong1: func(m *machine) error {
		b, err := m.sized(1)
		if err != nil {
			return err
		}
		return m.push(long(b))
	},
	opBinBytes:      func(m *machine) error { return m.pushBytes(4) },
	opShortBinBytes: func(m *machine) error { return m.pushBytes(1) },
	opTuple1:        func(m *machine) error { return m.popTuple(1) },
	opTuple2:        func(m *machine) error { return m.popTuple(2) },
	opTuple3:        func(m *machine) error { return m.popTuple(3) },
	opTuple: func(m *machine) error {
		items, err := m.popMark()
		if err != nil {
			return err
		}
		return m.push(tuple(items))
	},
}

func (m *machine) pushNumber(n int) error {
	v, err := m.number(n)
	if err != nil {
		return err
	}
	if n == 4 { // BININT alone has a sign
		return m.push(int64(int32(v)))
	}
	return m.push(int64(v))
}

func (m *machine) pushBytes(n int) error {
	b, err := m.sized(n)
	if err != nil {
		return err
	}
	return m.push(raw(b))
}

// numbered are the operations that go to the memo or come from it, with the bytes of their argument.
var numbered = map[byte]struct {
	bytes int
	do    func(m *machine, at uint64) error
}{
	opBinPut: {1, (*machine).remember}, opLongBinPut: {4, (*machine).remember},
	opBinGet: {1, (*machine).recall}, opLongBinGet: {4, (*machine).recall},
}

// step does one operation.
func (m *machine) step(op byte) error {
	if push, ok := pushed[op]; ok {
		return push(m)
	}
	if memo, ok := numbered[op]; ok {
		at, err := m.number(memo.bytes)
		if err != nil {
			return err
		}
		return memo.do(m, at)
	}
	switch op {
	case opProto:
		version, err := m.number(1)
		if err == nil && (version < 2 || version > 5) {
			err = m.bad("protocol %d, want 2 to 5", version)
		}
		return err
	case opFrame:
		size, err := m.number(8)
		if err == nil && size > uint64(m.end-m.at) {
			err = m.bad("a frame of %d bytes goes beyond the end", size)
		}
		return err
	case opMemoize:
		return m.remember(uint64(len(m.memo)))
	case opAppend, opAppends:
		return m.append(op == opAppends)
	case opSetItem, opSetItems:
		return m.setItems(op == opSetItems)
	case opGlobal, opStackGlobal:
		return m.global(op == opStackGlobal)
	case opBinPersID:
		return m.persistent()
	case opReduce:
		return m.reduce()
	case opBuild:
		return m.build()
	}
	return m.bad("operation %#x, which torch.save does not write", op)
}

// above returns the values that an operation adds to a container: those above a mark, or the n topmost.
func (m *machine) above(marked bool, n int) ([]any, error) {
	if marked {
		return m.popMark()
	}
	if err := m.popTuple(n); err != nil {
		return nil, err
	}
	items, err := m.pop()
	if err != nil {
		return nil, err
	}
	return items.(tuple), nil
}

func (m *machine) append(marked bool) error {
	items, err := m.above(marked, 1)
	if err != nil {
		return err
	}
	top, err := m.top()
	if err != nil {
		return err
	}
	l, ok := top.(*list)
	if !ok {
		return m.bad("it appends to %s", kindOf(top))
	}
	l.items = append(l.items, items...)
	return nil
}

func (m *machine) setItems(marked bool) error {
	items, err := m.above(marked, 2)
	if err != nil {
		return err
	}
	top, err := m.top()
	if err != nil {
		return err
	}
	d, ok := top.(*dict)
	if !ok || len(items)%2 != 0 {
		return m.bad("it sets %d keys and values of %s", len(items), kindOf(top))
	}
	for i := 0; i < len(items); i += 2 {
		d.keys, d.values = append(d.keys, items[i]), append(d.values, items[i+1])
	}
	return nil
}
