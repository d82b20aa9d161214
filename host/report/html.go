package report

import (
	_ "embed"
	"html/template"
	"io"
	"strings"
	"sync"
)

//go:embed page.html
var pageText string

// page escapes whatever it is given. It is made when a report is, which few starts of the program do.
var page = sync.OnceValue(func() *template.Template { return template.Must(template.New("page").Funcs(pageFuncs).Parse(pageText)) })

var pageFuncs = template.FuncMap{
	"plain":  plain,
	"number": func(head string) bool { return strings.HasPrefix(head, ">") },
	"name":   func(head string) string { return plain(strings.TrimPrefix(head, ">")) },
	"class": func(t *table, i int) string {
		switch {
		case strings.HasPrefix(t.Head[i], ">"):
			return "n"
		case t.Head[i] == "digest":
			return "d"
		}
		return ""
	},
}

// WriteHTML writes the report as one page that holds all it needs: no script, and nothing that is fetched.
func (r *Report) WriteHTML(w io.Writer) error { return page().Execute(w, r.document()) }
