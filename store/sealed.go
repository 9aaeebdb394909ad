package store

// sealedColumn is a column that holds sealed values, and how its rows say where each belongs.
type sealedColumn struct {
	table, column string
	// row and org are the columns that stand in a value's slot; org "" is none: the platform's.
	row, org string
}

// sealedColumns is every sealed column of the schema. Rotation walks it, and a test moves values between
// all of them. A new one adds its line here.
var sealedColumns = []sealedColumn{
	{"connections", "secret", "id", "org_id"},
	{"signing_keys", "private", "kid", ""},
	{"secrets", "value", "name", ""},
	{"jobs", "payload", "id", "org_id"},
	{"passwords", "hash", "id", "home_id"},
	{"factors", "secret", "id", "home_id"},
}

func (c sealedColumn) slot(row, org string) slot { return slot{c.table, c.column, row, org} }

// orgColumn is the organization's column, or what stands for none.
func (c sealedColumn) orgColumn() string {
	if c.org == "" {
		return "''"
	}
	return c.org
}
