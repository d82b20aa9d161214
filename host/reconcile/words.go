package reconcile

import "fmt"

// Words says a verdict in words.
func Words(v Verdict) string {
	switch v {
	case Agrees:
		return "agrees"
	case Short:
		return "less was delivered than the vendor's figure lets expect"
	case Over:
		return "more was delivered than the vendor's figure lets expect"
	case Empty:
		return "nothing was delivered, and the vendor's figure says that there was something"
	case Trifle:
		return "nothing was delivered, and the vendor's figure is too small to say much"
	case Partial:
		return "not wholly covered"
	case Unsettled:
		return "the figure could still grow when it was taken"
	case NoFigure:
		return "the vendor told no figure"
	case Unratioed:
		return "too few full days to know the log's ratio"
	case Untellable:
		return "the vendor told it in another unit"
	}
	return string(v)
}

// OverheadWords says what the vendor counts for each record beside its bytes; nothing if it is nothing.
func OverheadWords(n int64) string {
	switch n {
	case 0:
		return ""
	case 1:
		return ", 1 byte for each record beside its own"
	}
	return fmt.Sprintf(", %d bytes for each record beside its own", n)
}
