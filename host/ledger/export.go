package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-io/sluice/proto/fault"
)

// ColumnKind is what the values of an exported column are.
type ColumnKind uint8

// The kinds of exported columns, with the type of their values. A nullable column's may be nil.
const (
	TextColumn ColumnKind = iota + 1 // string
	IntColumn                        // int64
	BoolColumn                       // bool
	TimeColumn                       // time.Time in UTC, whole milliseconds
	JSONColumn                       // json.RawMessage
)

// Column is one column of an exported table.
type Column struct {
	Name string
	Kind ColumnKind
	Null bool // values may be nil

	expr string // of SQL
	zero bool   // 0 says that it isn't known
}

// Table is one table as it is exported: row IDs are resolved to what they stand for, times are times.
type Table struct {
	Name    string
	Columns []Column

	from  string // of SQL, with the joins
	scope string // condition that limits it to pipelines; %s are their placeholders, each time
	order []string
}

// internalTables are not part of the account: what rows refer to, and the vendor's budget, which means nothing elsewhere.
var internalTables = []string{"meta", "partitions", "budget_namespaces", "budget_reservations"}

// What names of columns can't tell.
var (
	jsonColumns     = []string{"parts", "entries", "summary", "detail"}
	boolColumns     = []string{"memory"}
	durationColumns = []string{"age_ms", "settle_ms"}
	zeroColumns     = []string{"finish_ms"}
)

// firstOrder is what rows are ordered by before all other columns, as far as a table has it.
var firstOrder = []string{
	"pipeline", "sink", "identity", "stream", "partition", "selection", "day_ms", "from_ms", "start_ms", "to_ms", "rev", "entry", "slice", "at_ms",
}

// Export reads the account of some pipelines (of all, without any) as it stands at one moment, table by table in the order of their
// names. begin is called before a table's rows, row for each of them; the values are the callee's. The order of rows depends on what is in
// them alone. only names the tables that are wanted; none means all. Errors of the callbacks end it and are returned.
func (l *Ledger) Export(ctx context.Context, pipelines, only []string, begin func(Table) error, row func(Table, []any) error) error {
	conn, err := l.reader.Conn(ctx)
	if err != nil {
		return fmt.Errorf("export: %w", explain(l.path, err))
	}
	defer func() { _ = conn.Close() }()
	tx, err := conn.BeginTx(ctx, &sql.TxOptions{ReadOnly: true}) // all tables of one moment, whatever is committed meanwhile
	if err != nil {
		return fmt.Errorf("export: %w", explain(l.path, err))
	}
	defer func() { _ = tx.Rollback() }()
	tables, err := exportTables(ctx, tx)
	if err != nil {
		return fmt.Errorf("export: %w", explain(l.path, err))
	}
	for _, name := range only {
		if !slices.ContainsFunc(tables, func(t Table) bool { return t.Name == name }) {
			return fault.Errorf(fault.Config, "export", "the account has no table %q", name).WithHint("it has " + strings.Join(namesOf(tables), ", "))
		}
	}
	for _, t := range tables {
		if len(only) > 0 && !slices.Contains(only, t.Name) {
			continue
		}
		if err := begin(t); err != nil {
			return err
		}
		if err := t.read(ctx, tx, pipelines, row); err != nil {
			return fmt.Errorf("export %s: %w", t.Name, explain(l.path, err))
		}
	}
	return nil
}

func namesOf(tables []Table) (out []string) {
	for _, t := range tables {
		out = append(out, t.Name)
	}
	return out
}

// exportTables derives the exported tables from the schema, so that a new column or table is never left out.
func exportTables(ctx context.Context, tx *sql.Tx) ([]Table, error) {
	var names []string
	err := scanAll(ctx, tx, func(rows *sql.Rows) error {
		var name string
		err := rows.Scan(&name)
		if !slices.Contains(internalTables, name) {
			names = append(names, name)
		}
		return err
	}, `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name`)
	if err != nil {
		return nil, err
	}
	var out []Table
	for _, name := range names {
		t, err := exportTable(ctx, tx, name)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

func exportTable(ctx context.Context, tx *sql.Tx, name string) (Table, error) {
	t := Table{Name: name, from: name + " t"}
	var own []Column
	has := map[string]bool{}
	err := scanAll(ctx, tx, func(rows *sql.Rows) error {
		var column, kind string
		var notNull bool
		if err := rows.Scan(&column, &kind, &notNull); err != nil {
			return err
		}
		has[column] = true
		if !slices.Contains([]string{"id", "sink_id", "partition_id"}, column) {
			own = append(own, columnOf(column, kind, !notNull))
		}
		return nil
	}, `SELECT name, type, "notnull" FROM pragma_table_info(?)`, name)
	if err != nil {
		return t, err
	}
	text := func(name, expr string) {
		t.Columns = append(t.Columns, Column{Name: name, Kind: TextColumn, expr: expr})
	}
	switch {
	case has["sink_id"]:
		t.from += " JOIN sinks s ON s.id = t.sink_id"
		text("pipeline", "s.pipeline")
		text("sink", "s.name")
		text("identity", "s.identity")
		t.scope = "s.pipeline IN (%s)"
	case has["pipeline"]:
		t.scope = "t.pipeline IN (%s)"
	default:
		t.scope = "t.partition_id IN (SELECT partition_id FROM asked WHERE pipeline IN (%s) UNION " +
			"SELECT l.partition_id FROM slices l JOIN sinks k ON k.id = l.sink_id WHERE k.pipeline IN (%s))"
	}
	if has["partition_id"] {
		t.from += " JOIN partitions p ON p.id = t.partition_id"
		text("selection", "p.selection")
		text("stream", "p.stream")
		text("partition", "p.partition")
	}
	t.Columns = append(t.Columns, own...)
	for _, first := range firstOrder {
		for _, c := range t.Columns {
			if c.expr == "t."+first || c.Name == first {
				t.order = append(t.order, c.expr)
			}
		}
	}
	for _, c := range t.Columns {
		t.order = append(t.order, c.expr)
	}
	return t, nil
}

func columnOf(name, kind string, null bool) Column {
	c := Column{Name: name, Kind: TextColumn, Null: null, expr: "t." + name}
	switch {
	case slices.Contains(jsonColumns, name):
		c.Kind = JSONColumn
	case slices.Contains(boolColumns, name):
		c.Kind = BoolColumn
	case strings.HasSuffix(name, "_ms") && !slices.Contains(durationColumns, name):
		c.Kind, c.Name = TimeColumn, strings.TrimSuffix(name, "_ms")+"_utc"
		if c.zero = slices.Contains(zeroColumns, name); c.zero {
			c.Null = true
		}
	case kind == "INTEGER":
		c.Kind = IntColumn
	}
	return c
}

func (t *Table) read(ctx context.Context, tx *sql.Tx, pipelines []string, row func(Table, []any) error) error {
	exprs := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		exprs[i] = c.expr
	}
	query := "SELECT " + strings.Join(exprs, ", ") + " FROM " + t.from
	var args []any
	if len(pipelines) > 0 {
		marks := strings.TrimSuffix(strings.Repeat("?, ", len(pipelines)), ", ")
		query += " WHERE " + strings.ReplaceAll(t.scope, "%s", marks)
		for range strings.Count(t.scope, "%s") {
			for _, p := range pipelines {
				args = append(args, p)
			}
		}
	}
	query += " ORDER BY " + strings.Join(t.order, ", ")
	return scanAll(ctx, tx, func(rows *sql.Rows) error {
		values := make([]any, len(t.Columns))
		into := make([]any, len(t.Columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i, c := range t.Columns {
			var err error
			if values[i], err = c.value(values[i]); err != nil {
				return err
			}
		}
		return row(*t, values)
	}, query, args...)
}

// value gives what SQLite holds the column's type.
func (c *Column) value(v any) (any, error) {
	if v == nil {
		if !c.Null {
			return nil, errors.New(c.Name + " is NULL")
		}
		return nil, nil
	}
	switch c.Kind {
	case TextColumn, JSONColumn:
		text, ok := v.(string)
		if raw, isBytes := v.([]byte); isBytes {
			text, ok = string(raw), true
		}
		if !ok {
			return nil, fmt.Errorf("%s is no text: %v", c.Name, v)
		}
		if c.Kind == JSONColumn {
			return jsonOf(text)
		}
		return text, nil
	}
	n, ok := v.(int64)
	if !ok {
		return nil, fmt.Errorf("%s is no integer: %v", c.Name, v)
	}
	switch {
	case c.Kind == BoolColumn:
		return n != 0, nil
	case c.Kind == TimeColumn && c.zero && n == 0:
		return nil, nil
	case c.Kind == TimeColumn:
		return timeOf(n), nil
	}
	return n, nil
}

func jsonOf(text string) (any, error) {
	if !json.Valid([]byte(text)) {
		return nil, fmt.Errorf("no JSON: %q", clip(text))
	}
	return json.RawMessage(text), nil
}

func scanAll(ctx context.Context, tx *sql.Tx, scan func(*sql.Rows) error, query string, args ...any) error {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
