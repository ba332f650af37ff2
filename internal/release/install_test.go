package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

const path = "github.com/waybill-network/waybill"

// proxy writes a module proxy in files that has one version of this module.
func proxy(t *testing.T, source, version string) (url string) {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, filepath.FromSlash(path), "@v")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(source, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	info, err := json.Marshal(map[string]string{"Version": version, "Time": "2026-01-01T00:00:00Z"})
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"list": []byte(version + "\n"), version + ".info": info,
		version + ".mod": mod}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	w, err := os.Create(filepath.Join(dir, version+".zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	// Nested modules stay out, as they do for every user.
	if err := zip.CreateFromDir(w, module.Version{Path: path, Version: version},
		source); err != nil {
		t.Fatal(err)
	}
	return "file://" + filepath.ToSlash(root)
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	b, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// install runs go install as a user does, in a folder without a module. This module comes from
// url, and the others from the module cache, which has verified them when it was filled.
func install(ctx context.Context, t *testing.T, url, version string,
) (program, output string, err error) {
	t.Helper()
	bin := t.TempDir()
	downloaded := "file://" +
		filepath.ToSlash(filepath.Join(goEnv(t, "GOMODCACHE"), "cache", "download"))
	proxies := strings.Join([]string{url, downloaded, goEnv(t, "GOPROXY")}, ",")
	cmd := exec.CommandContext(ctx, "go", "install", path+"/cmd/waybill@"+version)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "GOPROXY="+proxies, "GONOPROXY=none", "GOSUMDB=off",
		"GOMODCACHE="+t.TempDir(), "GOBIN="+bin, "GOFLAGS=-modcacherw -trimpath", "GOWORK=off")
	text, err := cmd.CombinedOutput()
	return filepath.Join(bin, "waybill"), string(text), err
}

// TestInstall is "go install .../cmd/waybill@VERSION", and asks the program which version it is.
func TestInstall(t *testing.T) {
	distribution(t)
	const version = "v0.0.7"
	program, text, err := install(t.Context(), t, proxy(t, tree(t), version), version)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, args := range []string{"version", "--version"} {
		out, err := exec.Command(program, args).CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), "waybill "+version+" ") {
			t.Errorf("waybill %s: %v: %s", args, err, out)
		}
	}
}

// TestInstallRefuses is the companion: what keeps users from installing is found.
func TestInstallRefuses(t *testing.T) {
	distribution(t)
	for _, directive := range []string{
		"exclude github.com/spf13/cobra v1.0.0",
		"replace github.com/spf13/cobra => ../cobra",
	} {
		source := tree(t)
		f, err := os.OpenFile(filepath.Join(source, "go.mod"), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString("\n" + directive + "\n"); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		word, _, _ := strings.Cut(directive, " ")
		const version = "v0.0.8"
		if _, text, err := install(t.Context(), t, proxy(t, source, version),
			version); err == nil ||
			!strings.Contains(text, word+" directives") {
			t.Errorf("a go.mod with %q: %v\n%s", directive, err, text)
		}
	}
}
