// SPDX-License-Identifier: LGPL-2.1-or-later

// Goclient drives a daemon through containerd's published Go client, step after step, and writes one line of JSON a step:
// {"step": ..., "seen": ..., "error": ...}. What must be seen is in ../test_go_client.py.
//
//	goclient SOCKET IMAGE DIRECTORY
//
// IMAGE is the reference of a busybox image in a registry on loopback, DIRECTORY an empty one for FIFOs and the like.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"
)

// A step that hangs must not hang the test.
const stepTimeout = 2 * time.Minute

type seen map[string]any

// session is what steps share.
type session struct {
	client *containerd.Client
	ref    string
	dir    string
	image  containerd.Image
	out    *json.Encoder
}

type step struct {
	name string
	run  func(context.Context, *session) (seen, error)
}

func (s *session) run(ctx context.Context, one step) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	line := map[string]any{"step": one.name}
	func() {
		defer func() {
			if panicked := recover(); panicked != nil {
				line["error"] = fmt.Sprint("panic: ", panicked)
			}
		}()
		what, err := one.run(ctx, s)
		line["seen"] = what
		if err != nil {
			line["error"] = err.Error()
		}
	}()
	if err := s.out.Encode(line); err != nil {
		os.Exit(2)
	}
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "goclient SOCKET IMAGE DIRECTORY")
		os.Exit(2)
	}
	client, err := containerd.New(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer client.Close()
	s := &session{client: client, ref: os.Args[2], dir: os.Args[3], out: json.NewEncoder(os.Stdout)}
	ctx := namespaces.WithNamespace(context.Background(), "goclient")
	watcher := watch(ctx, client)
	for _, steps := range [][]step{serverSteps, imageSteps, storeSteps, taskSteps, transferSteps} {
		for _, one := range steps {
			s.run(ctx, one)
		}
	}
	s.run(ctx, step{"events", watcher.topics})
}
