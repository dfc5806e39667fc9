package jinja

import (
	"fmt"
	"strings"
	"time"
)

// layouts are the directives of strftime that Go's time package has a layout for.
var layouts = map[byte]string{
	'a': "Mon", 'A': "Monday", 'b': "Jan", 'h': "Jan", 'B': "January", 'd': "02", 'H': "15", 'I': "03", 'm': "01", 'M': "04",
	'p': "PM", 'S': "05", 'y': "06", 'Y': "2006", 'F': "2006-01-02", 'T': "15:04:05", 'D': "01/02/06", 'R': "15:04",
	'c': "Mon Jan _2 15:04:05 2006", 'x': "01/02/06", 'X': "15:04:05", 'e': "_2", 'j': "002", 'r': "03:04:05 PM",
}

// strftime is datetime.strftime of a time without a zone, in the C locale; glibc's
// flags - _ 0 are the padding.
func (in *interp) strftime(t time.Time, format string) string {
	in.alloc(len(format) * 16)
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		flag := byte(0)
		if strings.IndexByte("-_0", format[i]) >= 0 && i+1 < len(format) {
			flag = format[i]
			i++
		}
		b.WriteString(padded(in.directive(t, format[i]), flag))
	}
	return b.String()
}

func (in *interp) directive(t time.Time, c byte) string {
	if layout, ok := layouts[c]; ok {
		return t.Format(layout)
	}
	year, week := t.ISOWeek()
	switch c {
	case '%':
		return "%"
	case 'n':
		return "\n"
	case 't':
		return "\t"
	case 'f':
		return fmt.Sprintf("%06d", t.Nanosecond()/1000)
	case 'z', 'Z':
		return "" // a naive datetime has none
	case 's':
		return fmt.Sprint(t.Unix())
	case 'C':
		return fmt.Sprintf("%02d", t.Year()/100)
	case 'k':
		return fmt.Sprintf("%2d", t.Hour())
	case 'l':
		return fmt.Sprintf("%2d", (t.Hour()+11)%12+1)
	case 'P':
		return t.Format("pm")
	case 'w':
		return fmt.Sprint(int(t.Weekday()))
	case 'u':
		return fmt.Sprint((int(t.Weekday())+6)%7 + 1)
	case 'U':
		return fmt.Sprintf("%02d", (t.YearDay()+6-int(t.Weekday()))/7)
	case 'W':
		return fmt.Sprintf("%02d", (t.YearDay()+6-(int(t.Weekday())+6)%7)/7)
	case 'G':
		return fmt.Sprint(year)
	case 'V':
		return fmt.Sprintf("%02d", week)
	}
	in.fail("ValueError", "strftime_now does not know the directive %%%c", c)
	return ""
}

// padded changes the padding of a number.
func padded(s string, flag byte) string {
	bare := strings.TrimLeft(s, "0 ")
	if bare == "" && s != "" {
		bare = "0"
	}
	switch flag {
	case '-':
		return bare
	case '_':
		return strings.Repeat(" ", len(s)-len(bare)) + bare
	case '0':
		return strings.Repeat("0", len(s)-len(bare)) + bare
	}
	return s
}
