package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// command returns a command that ends when ctx does: politely first.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

const curlOutput = "curl.log"

// runCurl is what a shell's `curl > file` does.
func runCurl(ctx context.Context, b *bench, folder string) (run, error) {
	return curl(ctx, b, folder, b.vendor.BaseURL)
}

// runCurlCompressed asks for a compressed answer and unpacks it.
func runCurlCompressed(ctx context.Context, b *bench, folder string) (run, error) {
	return curl(ctx, b, folder, b.vendor.ReplayURL, "--compressed")
}

func curl(ctx context.Context, b *bench, folder, base string, more ...string) (r run, err error) {
	out, err := os.Create(filepath.Join(folder, curlOutput))
	if err != nil {
		return r, err
	}
	defer out.Close()
	var stderr bytes.Buffer
	args := append([]string{"--silent", "--show-error", "--fail", "--header", "x-api-key: " + b.vendor.APIKey}, more...)
	cmd := command(ctx, "curl", append(args, b.vendor.urls(base)...)...)
	cmd.Stdout, cmd.Stderr = out, &stderr
	if err := r.execute(cmd, "curl"); err != nil {
		return r, fmt.Errorf("curl: %w\n%s", err, &stderr)
	}
	return r, nil
}

func runCurlSync(ctx context.Context, b *bench, folder string) (run, error) {
	r, err := runCurl(ctx, b, folder)
	if err != nil {
		return r, err
	}
	if err := r.execute(command(ctx, "sync", filepath.Join(folder, curlOutput)), "sync"); err != nil {
		return r, fmt.Errorf("sync: %w", err)
	}
	return r, nil
}
