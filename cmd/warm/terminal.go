package main

import (
	"bytes"
	"io"
	"os"

	"golang.org/x/term"
)

// terminal returns the terminal that w is: one on which lines can be written over, which
// TERM=dumb says of none.
func terminal(w io.Writer) (*os.File, bool) {
	f, ok := w.(*os.File)
	return f, ok && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}

// paint colours text, or returns it as it is.
type paint bool

// painted says whether what goes to w is coloured: on a terminal, unless NO_COLOR is set.
func painted(w io.Writer) paint {
	_, ok := terminal(w)
	return paint(ok && os.Getenv("NO_COLOR") == "")
}

// Parameters of the terminal's "select graphic rendition".
const (
	bold   = "1"
	faint  = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

func (p paint) as(style, text string) string {
	if !p {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

// paintedLog colours the lines of a log for a terminal: the time recedes, warnings and errors
// stand out.
type paintedLog struct{ w io.Writer }

// Write takes one line of the log, as slog's text handler writes it.
func (l paintedLog) Write(line []byte) (int, error) {
	at, rest, ok := bytes.Cut(line, []byte(" level="))
	level, said, has := bytes.Cut(rest, []byte(" "))
	if !ok || !has {
		return l.w.Write(line)
	}
	style := map[string]string{"WARN": yellow, "ERROR": red}[string(level)]
	word := "level=" + string(level)
	if style != "" {
		word = paint(true).as(style, word)
	}
	if _, err := io.WriteString(l.w, paint(true).as(faint, string(at))+" "+word+" "+
		string(said)); err != nil {
		return 0, err
	}
	return len(line), nil
}
