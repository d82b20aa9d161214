package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFind(t *testing.T) {
	root := t.TempDir()
	make := func(path string) string {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	make("flag.yaml")
	make("env.yaml")
	make("cwd/sluice.yaml")
	make("xdg/sluice/sluice.yaml")
	make("home/.config/sluice/sluice.yaml")
	make("etc/sluice.yaml")
	at := func(path string) string { return filepath.Join(root, path) }
	all := map[string]string{EnvFile: at("env.yaml"), "XDG_CONFIG_HOME": at("xdg"), "HOME": at("home")}
	for _, tt := range []struct {
		name, flag string
		env        map[string]string
		cwd        string
		want       string
		fail       string // a part of the error
	}{
		{name: "flag", flag: at("flag.yaml"), env: all, cwd: "cwd", want: "flag.yaml"},
		{name: "relative flag", flag: "../flag.yaml", env: all, cwd: "cwd", want: "flag.yaml"},
		{name: "flag without its file", flag: "none.yaml", env: all, cwd: "cwd", fail: "config file of -f: "},
		{name: "flag of a folder", flag: ".", env: all, cwd: "cwd", fail: "is a folder"},
		{name: "variable", env: all, cwd: "cwd", want: "env.yaml"},
		{name: "variable without its file", env: map[string]string{EnvFile: "none.yaml"}, cwd: "cwd", fail: "config file of $SLUICE_CONFIG: "},
		{name: "working folder", env: map[string]string{"HOME": at("home")}, cwd: "cwd", want: "cwd/sluice.yaml"},
		{name: "XDG", env: map[string]string{"XDG_CONFIG_HOME": at("xdg"), "HOME": at("home")}, cwd: "home", want: "xdg/sluice/sluice.yaml"},
		{name: "home", env: map[string]string{"XDG_CONFIG_HOME": "relative", "HOME": at("home")}, cwd: "home", want: "home/.config/sluice/sluice.yaml"},
		{name: "XDG alone hides home", env: map[string]string{"XDG_CONFIG_HOME": at("empty"), "HOME": at("home")}, cwd: "home", want: "etc/sluice.yaml"},
		{name: "system", cwd: "home", want: "etc/sluice.yaml"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := find(tt.flag, func(k string) string { return tt.env[k] }, at(tt.cwd), at("etc/sluice.yaml"))
			if tt.fail != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fail) {
					t.Errorf("got %q, %v", got, err)
				}
				return
			}
			if err != nil || got != at(tt.want) {
				t.Errorf("got %q, %v, want %q", got, err, at(tt.want))
			}
		})
	}
	t.Run("nowhere", func(t *testing.T) {
		_, err := find("", func(k string) string { return map[string]string{"HOME": "/nowhere"}[k] }, at("home"), "/nowhere/sluice.yaml")
		var missing *NotFoundError
		if !errors.As(err, &missing) {
			t.Fatalf("got %v", err)
		}
		for _, place := range []string{"-f", "$SLUICE_CONFIG", at("home/sluice.yaml"), "/nowhere/.config/sluice/sluice.yaml", "/nowhere/sluice.yaml", "sluice init"} {
			if !strings.Contains(err.Error(), place) {
				t.Errorf("the error doesn't name %s:\n%v", place, err)
			}
		}
	})
}
