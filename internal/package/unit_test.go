package main

import (
	"strings"
)

// unit is a unit file of the service manager: section, setting, values in order.
type unit map[string]map[string][]string

func parseUnit(text string) unit {
	u, section := unit{}, ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch name, value, ok := strings.Cut(line, "="); {
		case strings.HasPrefix(line, "#"), line == "":
		case strings.HasPrefix(line, "["):
			section = strings.Trim(line, "[]")
			u[section] = map[string][]string{}
		case ok:
			u[section][name] = append(u[section][name], value)
		}
	}
	return u
}

func (u unit) last(section, name string) string {
	values := u[section][name]
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}
