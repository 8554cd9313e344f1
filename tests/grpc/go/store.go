// SPDX-License-Identifier: LGPL-2.1-or-later
package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/sandbox"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/rootfs"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func withNamespace(ctx context.Context, name string) context.Context {
	return namespaces.WithNamespace(ctx, name)
}

var storeSteps = []step{
	{"content-walk", func(ctx context.Context, s *session) (seen, error) {
		sizes := map[string]int64{}
		sources := 0
		err := s.client.ContentStore().Walk(ctx, func(info content.Info) error {
			sizes[info.Digest.String()] = info.Size
			for key := range info.Labels {
				if len(key) > 31 && key[:31] == "containerd.io/distribution.sour" {
					sources++
				}
			}
			return nil
		})
		_, target := sizes[s.image.Target().Digest.String()]
		return seen{"blobs": len(sizes), "target": target, "sources": sources}, err
	}},
	{"content-ingest", ingestStep},
	{"content-abort", func(ctx context.Context, s *session) (seen, error) {
		store := s.client.ContentStore()
		writer, err := content.OpenWriter(ctx, store, content.WithRef("abort-me"))
		if err != nil {
			return nil, err
		}
		_, written := writer.Write([]byte("half"))
		err = errors.Join(written, writer.Close(), abort(ctx, store, "abort-me"))
		_, missing := store.Status(ctx, "abort-me")
		return seen{"gone": errdefs.IsNotFound(missing), "twice": errdefs.IsNotFound(store.Abort(ctx, "abort-me"))}, err
	}},
	{"snapshots", snapshotStep},
	{"diff", diffStep},
	{"sandbox-store", sandboxStep},
}

// abort ends an ingest. Closing a writer does not wait until the daemon has seen it, and until then the ingest is in use.
func abort(ctx context.Context, store content.Store, ref string) error {
	for {
		err := store.Abort(ctx, ref)
		if !errdefs.IsUnavailable(err) || ctx.Err() != nil {
			return err
		}
	}
}

func ingestStep(ctx context.Context, s *session) (seen, error) {
	store := s.client.ContentStore()
	lease, err := s.client.LeasesService().Create(ctx, leases.WithRandomID())
	if err != nil {
		return nil, err
	}
	defer s.client.LeasesService().Delete(ctx, lease)
	ctx = leases.WithLease(ctx, lease.ID)
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<18)
	sum := digest.FromBytes(data)
	description := ocispec.Descriptor{Digest: sum, Size: int64(len(data))}
	writer, err := content.OpenWriter(ctx, store, content.WithRef("ingest-1"), content.WithDescriptor(description))
	if err != nil {
		return nil, err
	}
	if _, err := writer.Write(data[:1<<20]); err != nil {
		return nil, err
	}
	status, err := store.Status(ctx, "ingest-1")
	if err != nil {
		return nil, err
	}
	active, err := store.ListStatuses(ctx, "ref~=ingest")
	if err != nil {
		return nil, err
	}
	if err := writer.Close(); err != nil {
		return nil, err
	}
	// Another writer goes on where the first has stopped.
	writer, err = content.OpenWriter(ctx, store, content.WithRef("ingest-1"), content.WithDescriptor(description))
	if err != nil {
		return nil, err
	}
	defer writer.Close()
	if err := content.Copy(ctx, writer, bytes.NewReader(data), description.Size, sum, content.WithLabels(map[string]string{"a": "b"})); err != nil {
		return nil, err
	}
	back, err := content.ReadBlob(ctx, store, description)
	if err != nil {
		return nil, err
	}
	info, err := store.Update(ctx, content.Info{Digest: sum, Labels: map[string]string{"a": "c", "x": "y"}}, "labels.a")
	if err != nil {
		return nil, err
	}
	again := content.WriteBlob(ctx, store, "ingest-2", bytes.NewReader(data), description)
	wrong := content.WriteBlob(ctx, store, "ingest-3", bytes.NewReader(data[:10]), ocispec.Descriptor{Digest: digest.FromString("x"), Size: 10})
	return seen{"offset": status.Offset, "total": status.Total, "active": len(active), "same": bytes.Equal(back, data), "labels": info.Labels,
		"again": again == nil, "wrong": errdefs.IsFailedPrecondition(wrong)}, store.Delete(ctx, sum)
}

func parentOf(ctx context.Context, s *session) (string, error) {
	layers, err := s.image.RootFS(ctx)
	if err != nil {
		return "", err
	}
	return identity.ChainID(layers).String(), nil
}

func snapshotStep(ctx context.Context, s *session) (seen, error) {
	snapshotter := s.client.SnapshotService("overlayfs")
	parent, err := parentOf(ctx, s)
	if err != nil {
		return nil, err
	}
	mounts, err := snapshotter.Prepare(ctx, "work", parent, snapshots.WithLabels(map[string]string{"containerd.io/gc.root": "1"}))
	if err != nil {
		return nil, err
	}
	again, err := snapshotter.Mounts(ctx, "work")
	if err != nil {
		return nil, err
	}
	if err := mount.WithTempMount(ctx, mounts, func(root string) error {
		return os.WriteFile(filepath.Join(root, "added"), bytes.Repeat([]byte("x"), 100000), 0o644)
	}); err != nil {
		return nil, err
	}
	usage, err := snapshotter.Usage(ctx, "work")
	if err != nil {
		return nil, err
	}
	_, taken := snapshotter.Prepare(ctx, "work", parent)
	if err := snapshotter.Commit(ctx, "saved", "work", snapshots.WithLabels(map[string]string{"containerd.io/gc.root": "1"})); err != nil {
		return nil, err
	}
	view, err := snapshotter.View(ctx, "look", "saved")
	if err != nil {
		return nil, err
	}
	var size int64
	if err := mount.WithReadonlyTempMount(ctx, view, func(root string) error {
		info, err := os.Stat(filepath.Join(root, "added"))
		if err == nil {
			size = info.Size()
		}
		return err
	}); err != nil {
		return nil, err
	}
	kinds := map[string]string{}
	if err := snapshotter.Walk(ctx, func(_ context.Context, info snapshots.Info) error {
		kinds[info.Name] = info.Kind.String()
		return nil
	}, "name==saved", "name==look"); err != nil {
		return nil, err
	}
	info, err := snapshotter.Update(ctx, snapshots.Info{Name: "saved", Labels: map[string]string{"l": "1"}}, "labels.l")
	if err != nil {
		return nil, err
	}
	inUse := snapshotter.Remove(ctx, "saved")
	err = errors.Join(snapshotter.Remove(ctx, "look"), snapshotter.Remove(ctx, "saved"))
	_, gone := snapshotter.Stat(ctx, "saved")
	return seen{"type": mounts[0].Type, "same": len(again) == len(mounts) && again[0].Source == mounts[0].Source, "usage": usage.Size, "size": size,
		"taken": errdefs.IsAlreadyExists(taken), "kinds": kinds, "labels": info.Labels, "parent": info.Parent == parent,
		"in-use": errdefs.IsFailedPrecondition(inUse), "gone": errdefs.IsNotFound(gone)}, err
}

func diffStep(ctx context.Context, s *session) (seen, error) {
	ctx, done, err := s.client.WithLease(ctx)
	if err != nil {
		return nil, err
	}
	defer done(ctx)
	snapshotter := s.client.SnapshotService("overlayfs")
	parent, err := parentOf(ctx, s)
	if err != nil {
		return nil, err
	}
	mounts, err := snapshotter.Prepare(ctx, "changed", parent)
	if err != nil {
		return nil, err
	}
	if err := mount.WithTempMount(ctx, mounts, func(root string) error {
		return errors.Join(os.WriteFile(filepath.Join(root, "new"), []byte("new"), 0o600), os.Remove(filepath.Join(root, "etc/group")))
	}); err != nil {
		return nil, err
	}
	layer, err := rootfs.CreateDiff(ctx, "changed", snapshotter, s.client.DiffService())
	if err != nil {
		return nil, err
	}
	target, err := snapshotter.Prepare(ctx, "applied", parent)
	if err != nil {
		return nil, err
	}
	applied, err := s.client.DiffService().Apply(ctx, layer, target)
	if err != nil {
		return nil, err
	}
	var data []byte
	removed := false
	err = mount.WithTempMount(ctx, target, func(root string) error {
		var err error
		data, err = os.ReadFile(filepath.Join(root, "new"))
		_, missing := os.Stat(filepath.Join(root, "etc/group"))
		removed = os.IsNotExist(missing)
		return err
	})
	info, infoErr := s.client.ContentStore().Info(ctx, layer.Digest)
	return seen{"type": layer.MediaType, "applied": applied.MediaType, "data": string(data), "removed": removed,
			"uncompressed": info.Labels["containerd.io/uncompressed"] == applied.Digest.String()},
		errors.Join(err, infoErr, snapshotter.Remove(ctx, "changed"), snapshotter.Remove(ctx, "applied"))
}

func sandboxStep(ctx context.Context, s *session) (seen, error) {
	store := s.client.SandboxStore()
	spec, err := typeurl.MarshalAny(&specs.Spec{Version: "1.1.0", Hostname: "one"})
	if err != nil {
		return nil, err
	}
	extension, err := typeurl.MarshalAny(&specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "0-1"}})
	if err != nil {
		return nil, err
	}
	made, err := store.Create(ctx, sandbox.Sandbox{ID: "sandbox", Labels: map[string]string{"a": "1"}, Spec: spec,
		Runtime: sandbox.RuntimeOpts{Name: "io.containerd.runc.v2"}, Extensions: map[string]typeurl.Any{"cpu": extension}})
	if err != nil {
		return nil, err
	}
	_, taken := store.Create(ctx, made)
	changed, err := store.Update(ctx, sandbox.Sandbox{ID: "sandbox", Labels: map[string]string{"a": "2", "b": "3"}}, "labels.b")
	if err != nil {
		return nil, err
	}
	got, err := store.Get(ctx, "sandbox")
	if err != nil {
		return nil, err
	}
	list, err := store.List(ctx, "labels.b==3")
	if err != nil {
		return nil, err
	}
	err = store.Delete(ctx, "sandbox")
	_, gone := store.Get(ctx, "sandbox")
	return seen{"labels": changed.Labels, "runtime": got.Runtime.Name, "listed": len(list),
		"spec":      bytes.Equal(got.Spec.GetValue(), spec.GetValue()) && got.Spec.GetTypeUrl() == spec.GetTypeUrl(),
		"extension": got.Extensions["cpu"] != nil && bytes.Equal(got.Extensions["cpu"].GetValue(), extension.GetValue()),
		"times":     !got.CreatedAt.IsZero() && got.UpdatedAt.After(got.CreatedAt),
		"taken":     errdefs.IsAlreadyExists(taken), "gone": errdefs.IsNotFound(gone)}, err
}
