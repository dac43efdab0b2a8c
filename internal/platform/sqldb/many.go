package sqldb

import (
	"context"
	"strconv"
	"strings"
)

// chunks are how many rows one statement writes or asks for: few texts, because each is parsed and kept, and
// short ones, because the SQLite driver looks at all placeholders before each to find its name.
func chunks() []int { return []int{30, 5, 1} }

// Many writes n rows with few statements: insert, VALUES, then conflict. It returns how many rows were written.
func (tx *Tx) Many(ctx context.Context, insert, conflict string, n int, row func(i int) []any) (written int64, err error) {
	for i := 0; i < n; {
		size := chunk(n - i)
		var args []any
		for ; size > 0; size-- {
			args = append(args, row(i)...)
			i++
		}
		columns := len(row(i - 1))
		rows, err := tx.Exec(ctx, insert+" VALUES "+places(len(args), columns)+" "+conflict, args...)
		if err != nil {
			return written, err
		}
		written += rows
	}
	return written, nil
}

// In runs a query for many values: the text's one %s becomes a list of placeholders, from $1.
func In[V any](ctx context.Context, tx *Tx, query string, values []V, scan func(scan func(...any) error) error) error {
	for len(values) > 0 {
		size := chunk(len(values))
		args := make([]any, size)
		for i, v := range values[:size] {
			args[i] = v
		}
		values = values[size:]
		if err := tx.Each(ctx, strings.Replace(query, "%s", places(size, size), 1), scan, args...); err != nil {
			return err
		}
	}
	return nil
}

func chunk(left int) int {
	for _, size := range chunks() {
		if left >= size {
			return size
		}
	}
	return left
}

// places writes so many placeholders in groups: ($1, $2), ($3, $4).
func places(n, group int) string {
	var b strings.Builder
	for i := range n {
		switch {
		case i == 0:
			b.WriteString("(")
		case i%group == 0:
			b.WriteString("), (")
		default:
			b.WriteString(", ")
		}
		b.WriteString("$" + strconv.Itoa(i+1))
	}
	return b.String() + ")"
}
