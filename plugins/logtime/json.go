package logtime

import "bytes"

// jsonTime returns the value of an object's member @timestamp, else timestamp, else time, without quotes; nil without one,
// or if it is neither a text nor a number. Of an object that is cut off it takes what came.
func jsonTime(text []byte) (value []byte, quoted bool) {
	best := 3 // by the order of preference
	i := 1
	for {
		i = skipBlanks(text, i)
		if i >= len(text) || text[i] != '"' {
			return value, quoted
		}
		end := stringEnd(text, i)
		if end < 0 {
			return value, quoted
		}
		rank := rankOf(text[i+1 : end-1])
		i = skipBlanks(text, end)
		if i >= len(text) || text[i] != ':' {
			return value, quoted
		}
		i = skipBlanks(text, i+1)
		from := i
		if i = valueEnd(text, i); i < 0 {
			return value, quoted
		}
		if found := text[from:i]; rank < best && len(found) > 0 {
			switch {
			case found[0] == '"':
				best, value, quoted = rank, found[1:len(found)-1], true
			case isDigit(found[0]):
				best, value, quoted = rank, found, false
			}
		}
		i = skipBlanks(text, i)
		if best == 0 || i >= len(text) || text[i] != ',' {
			return value, quoted
		}
		i++
	}
}

func rankOf(key []byte) int {
	switch string(key) {
	case "@timestamp":
		return 0
	case "timestamp":
		return 1
	case "time":
		return 2
	}
	return 3
}

func skipBlanks(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\t' || text[i] == '\r' || text[i] == '\n') {
		i++
	}
	return i
}

// stringEnd returns where the string that begins at i has ended; -1 if it doesn't.
func stringEnd(text []byte, i int) int {
	for i++; i < len(text); i++ {
		n := bytes.IndexByte(text[i:], '"')
		if n < 0 {
			return -1
		}
		i += n
		back := i
		for text[back-1] == '\\' {
			back--
		}
		if (i-back)%2 == 0 {
			return i + 1
		}
	}
	return -1
}

// valueEnd returns where the value that begins at i has ended; -1 if it doesn't.
func valueEnd(text []byte, i int) int {
	depth := 0
	for start := i; i < len(text); {
		switch text[i] {
		case '"':
			if i = stringEnd(text, i); i < 0 {
				return -1
			}
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 && i > start {
				return i
			}
		}
		i++
	}
	return -1
}
