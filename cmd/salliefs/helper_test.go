package main

import (
	"slices"
	"testing"

	"salliefs/cmd/salliefs/internal/daemon"
	"salliefs/cmd/salliefs/internal/secret"
)

func TestMountOptions(t *testing.T) {
	var o mountOptions
	for _, s := range []string{"ro,allow_other", `password_command=a\,b,,acl`, ""} {
		if err := o.Set(s); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"ro", "allow_other", "password_command=a,b", "acl"}; !slices.Equal(o, want) {
		t.Fatalf("got %q, want %q", o, want)
	}
	var cfg daemon.Config
	var source secret.Source
	for _, word := range append(o, "rw", "dev", "noatime", "noxattr", "log_file=/l", "x-a=b", "default_permissions") {
		mountOption(&cfg, &source, word)
	}
	if cfg.ReadOnly || !cfg.AllowOther || !cfg.ACL || !cfg.NoAtime || !cfg.NoXattr || cfg.LogFile != "/l" || source.Command != "a,b" {
		t.Errorf("%+v, %+v", cfg, source)
	}
	if want := []string{"dev", "x-a=b"}; !slices.Equal(cfg.Extra, want) {
		t.Errorf("left for the mount: %q, want %q", cfg.Extra, want)
	}
}

func TestExitCodesForMount(t *testing.T) {
	for code, want := range map[int]int{exitOK: 0, exitUsage: 1, exitFailure: 32, 3: 32, 11: 32} {
		if got := mountExitCode(code); got != want {
			t.Errorf("%d became %d, want %d", code, got, want)
		}
	}
}
