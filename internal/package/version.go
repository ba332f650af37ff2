package main

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

var described = regexp.MustCompile(
	`^v?(\d+\.\d+\.\d+)(?:-((?:rc|alpha|beta|pre)[.\w]*))?(?:-(\d+)-g([0-9a-f]+))?(-dirty)?$`)

// debianVersion puts a version, as git describes it, into Debian's order: a candidate before its
// release, commits after a tag behind it, and a commit without any tag before all, by its time.
func debianVersion(version string, at time.Time) string {
	m := described.FindStringSubmatch(version)
	if m == nil {
		name := strings.Map(func(r rune) rune {
			if strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789", r) {
				return r
			}
			return '.'
		}, strings.ToLower(version))
		return fmt.Sprintf("0~%s.%s", at.Format("20060102150405"), name)
	}
	debian := m[1]
	if m[2] != "" {
		debian += "~" + m[2]
	}
	if m[3] != "" {
		debian += fmt.Sprintf("+%s.g%s", m[3], m[4])
	}
	if m[5] != "" {
		debian += "+dirty"
	}
	return debian
}
