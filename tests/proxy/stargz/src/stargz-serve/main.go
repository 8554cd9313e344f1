// SPDX-License-Identifier: LGPL-2.1-or-later

// stargz-serve SOCKET DIRECTORY: the library of stargz-snapshotter, served over the Snapshots API of containerd.
package main

import (
	"context"
	"log"
	"net"
	"os"
	"path/filepath"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/contrib/snapshotservice"
	"github.com/containerd/stargz-snapshotter/fs"
	"github.com/containerd/stargz-snapshotter/fs/config"
	"github.com/containerd/stargz-snapshotter/snapshot"
	"google.golang.org/grpc"
)

func serve(socket, directory string) error {
	lazy, err := fs.NewFilesystem(filepath.Join(directory, "fs"), config.Config{})
	if err != nil {
		return err
	}
	snapshotter, err := snapshot.NewSnapshotter(context.Background(), filepath.Join(directory, "snapshotter"), lazy)
	if err != nil {
		return err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	snapshotsapi.RegisterSnapshotsServer(server, snapshotservice.FromSnapshotter(snapshotter))
	return server.Serve(listener)
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: stargz-serve SOCKET DIRECTORY")
	}
	log.Fatal(serve(os.Args[1], os.Args[2]))
}
