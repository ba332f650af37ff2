package config

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes. Its text form is a whole number and a binary unit: 512B, 64MiB, 2GiB.
type Size int64

var sizeUnits = []struct {
	name  string
	bytes int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// String writes the size in the largest unit that divides it.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if int64(s)%u.bytes == 0 && s != 0 || u.bytes == 1 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	panic("unreachable: the last unit is one byte")
}

// ParseSize reads what String writes.
func ParseSize(text string) (Size, error) {
	for _, u := range sizeUnits {
		digits, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 63)
		if err != nil || n > uint64(math.MaxInt64/u.bytes) {
			return 0, errors.New("not a size")
		}
		return Size(int64(n) * u.bytes), nil
	}
	return 0, errors.New("not a size")
}

// Field describes one setting.
type Field struct {
	Path    string // section.key: its name in overrides and errors
	Env     string // its environment variable
	Doc     string
	Allowed string // what its value may be, in words
	Default string // in the form of an override
}

type field struct {
	Field
	section, key string
	rule         string
	value        reflect.Value
}

type section struct {
	name, doc string
	fields    []field
}

// sections walks the struct in its order.
func sections(c *Config) []section {
	var out []section
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		st := v.Type().Field(i)
		if !st.IsExported() {
			continue
		}
		s := section{name: st.Tag.Get("toml"), doc: st.Tag.Get("doc")}
		for j := range v.Field(i).NumField() {
			ft := v.Field(i).Type().Field(j)
			f := field{section: s.name, key: ft.Tag.Get("toml"), rule: ft.Tag.Get("allow"),
				value: v.Field(i).Field(j)}
			f.Path = s.name + "." + f.key
			f.Env = "WAYBILL_" + strings.ToUpper(s.name+"_"+f.key)
			f.Doc = ft.Tag.Get("doc")
			f.Allowed = f.allowed()
			s.fields = append(s.fields, f)
		}
		out = append(out, s)
	}
	return out
}

func fields(c *Config) []field {
	var out []field
	for _, s := range sections(c) {
		out = append(out, s.fields...)
	}
	return out
}

// Fields describes every setting, in the order of the file.
func Fields() []Field {
	var out []Field
	for _, f := range fields(Default()) {
		f.Default = f.text()
		out = append(out, f.Field)
	}
	return out
}

// text renders the value in the form that set reads: lists by commas.
func (f *field) text() string {
	switch v := f.value.Interface().(type) {
	case []string:
		return strings.Join(v, ",")
	case time.Duration:
		return duration(v)
	default:
		return fmt.Sprint(v)
	}
}

// duration is time.Duration.String without trailing zero parts: 5m, not 5m0s.
func duration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// set parses text into the value, without checking its rule.
func (f *field) set(text string) error {
	var v any
	var err error
	switch f.value.Interface().(type) {
	case string:
		v = text
	case bool:
		v, err = strconv.ParseBool(text)
	case int:
		v, err = strconv.Atoi(text)
	case uint32:
		var n uint64
		n, err = strconv.ParseUint(text, 10, 32)
		v = uint32(n)
	case time.Duration:
		v, err = time.ParseDuration(text)
	case Size:
		v, err = ParseSize(text)
	case []string:
		list := []string{}
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				list = append(list, item)
			}
		}
		v = list
	default:
		panic("config: no text form for " + f.value.Type().String())
	}
	if err != nil {
		return errValue
	}
	f.value.Set(reflect.ValueOf(v))
	return nil
}

// setTOML takes a decoded TOML value, which must be of the setting's own type: a quoted number is
// an error.
func (f *field) setTOML(v any) error {
	kind := f.value.Kind()
	switch v := v.(type) {
	case string:
		if kind == reflect.String || f.isDuration() || f.isSize() {
			return f.set(v)
		}
	case bool:
		if kind == reflect.Bool {
			f.value.SetBool(v)
			return nil
		}
	case int64:
		if (kind == reflect.Int || kind == reflect.Uint32) && !f.isDuration() && !f.isSize() {
			return f.set(strconv.FormatInt(v, 10))
		}
	case []any:
		if kind != reflect.Slice {
			break
		}
		list := make([]string, len(v))
		for i, item := range v {
			s, ok := item.(string)
			if !ok {
				return errValue
			}
			list[i] = s
		}
		f.value.Set(reflect.ValueOf(list))
		return nil
	}
	return errValue
}

func (f *field) isDuration() bool { return f.value.Type() == reflect.TypeFor[time.Duration]() }
func (f *field) isSize() bool     { return f.value.Type() == reflect.TypeFor[Size]() }
