package jinja

import (
	"fmt"
	"strings"
	"time"

	"github.com/warmserve/warmserve/model/chat/origin"
)

// strftime formats t as Python's datetime.strftime does in the C locale.
func strftime(t time.Time, format Text) Text {
	layout := format.Peek()
	goLayouts := map[byte]string{
		'a': "Mon", 'A': "Monday", 'b': "Jan", 'h': "Jan", 'B': "January", 'd': "02", 'm': "01",
		'y': "06", 'Y': "2006",
		'H': "15", 'I': "03", 'p': "PM", 'M': "04", 'S': "05", 'z': "-0700", 'Z': "MST", 'j': "002",
		'c': "Mon Jan _2 15:04:05 2006", 'x': "01/02/06", 'X': "15:04:05", 'D': "01/02/06",
		'F': "2006-01-02", 'T': "15:04:05",
		'R': "15:04", 'e': "_2",
	}
	var b origin.Builder
	for i := 0; i < len(layout); i++ {
		if layout[i] != '%' || i+1 == len(layout) {
			n := strings.IndexByte(layout[i+1:], '%') + 1
			if n == 0 {
				n = len(layout) - i
			}
			b.Write(format.Slice(i, i+n))
			i += n - 1
			continue
		}
		i++
		c := layout[i]
		bare := false
		if c == '-' && i+1 < len(layout) {
			i++
			c, bare = layout[i], true
		}
		s := ""
		switch c {
		case '%':
			s = "%"
		case 'n':
			s = "\n"
		case 't':
			s = "\t"
		case 'f':
			s = fmt.Sprintf("%06d", t.Nanosecond()/1000)
		case 'w':
			s = fmt.Sprint(int(t.Weekday()))
		case 'u':
			s = fmt.Sprint((int(t.Weekday())+6)%7 + 1)
		case 'z', 'Z':
			// datetime.now() carries no zone, so both are empty.
		case 'U':
			s = fmt.Sprintf("%02d", (t.YearDay()+6-int(t.Weekday()))/7)
		case 'W':
			s = fmt.Sprintf("%02d", (t.YearDay()+6-(int(t.Weekday())+6)%7)/7)
		case 'V':
			_, week := t.ISOWeek()
			s = fmt.Sprintf("%02d", week)
		case 'G':
			year, _ := t.ISOWeek()
			s = fmt.Sprint(year)
		case 's':
			s = fmt.Sprint(t.Unix())
		default:
			layout, ok := goLayouts[c]
			if !ok {
				panic(valueErrorf("strftime directive %%%c is not supported", c))
			}
			s = t.Format(layout)
		}
		if bare {
			if s = strings.TrimLeft(s, "0 "); s == "" {
				s = "0"
			}
		}
		b.Write(origin.Literal(s)) // the clock's
	}
	return b.Text()
}
