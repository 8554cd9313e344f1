// SPDX-License-Identifier: LGPL-2.1-or-later
package main

import (
	"bytes"
	"context"
	"errors"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/images/archive"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
)

func names(list []containerd.Image) []string {
	found := []string{}
	for _, image := range list {
		found = append(found, image.Name())
	}
	return found
}

var imageSteps = []step{
	{"pull", func(ctx context.Context, s *session) (seen, error) {
		image, err := s.client.Pull(ctx, s.ref, containerd.WithPullUnpack, containerd.WithPullLabel("pulled", "yes"))
		if err != nil {
			return nil, err
		}
		s.image = image
		unpacked, err := image.IsUnpacked(ctx, "overlayfs")
		if err != nil {
			return nil, err
		}
		size, err := image.Size(ctx)
		return seen{"name": image.Name(), "unpacked": unpacked, "size": size, "labels": image.Labels()}, err
	}},
	{"image-config", func(ctx context.Context, s *session) (seen, error) {
		spec, err := s.image.Spec(ctx)
		if err != nil {
			return nil, err
		}
		rootfs, err := s.image.RootFS(ctx)
		if err != nil {
			return nil, err
		}
		usage, err := s.image.Usage(ctx, containerd.WithSnapshotUsage())
		return seen{"env": spec.Config.Env, "cmd": spec.Config.Cmd, "layers": len(rootfs), "usage": usage}, err
	}},
	{"image-filters", func(ctx context.Context, s *session) (seen, error) {
		answers := seen{}
		for key, filters := range map[string][]string{
			"name": {"name==" + s.ref}, "regexp": {"name~=busybox"}, "label": {"labels.pulled==yes"}, "presence": {"labels.pulled"},
			"other": {"name==other"}, "or": {"name==other", "labels.pulled==yes"}, "and": {"name==other,labels.pulled==yes"},
		} {
			list, err := s.client.ListImages(ctx, filters...)
			if err != nil {
				return nil, err
			}
			answers[key] = names(list)
		}
		_, err := s.client.ListImages(ctx, "name=")
		answers["broken"] = errdefs.IsInvalidArgument(err)
		return answers, nil
	}},
	{"image-labels", func(ctx context.Context, s *session) (seen, error) {
		store := s.client.ImageService()
		if _, err := store.Update(ctx, images.Image{Name: s.ref, Labels: map[string]string{"one": "1", "two": "2"}}, "labels.one"); err != nil {
			return nil, err
		}
		image, err := store.Get(ctx, s.ref)
		if err != nil {
			return nil, err
		}
		partial := image.Labels
		image.Labels = map[string]string{"three": "3"}
		image, err = store.Update(ctx, image, "labels")
		return seen{"partial": partial, "whole": image.Labels}, err
	}},
	{"export-import", func(ctx context.Context, s *session) (seen, error) {
		var file bytes.Buffer
		if err := s.client.Export(ctx, &file, archive.WithImage(s.client.ImageService(), s.ref),
			archive.WithPlatform(platforms.Default())); err != nil {
			return nil, err
		}
		list, err := s.client.Import(ctx, &file, containerd.WithImageLabels(map[string]string{"imported": "yes"}),
			containerd.WithIndexName("example.com/index:1"))
		if err != nil {
			return nil, err
		}
		found := map[string]bool{}
		for _, image := range list {
			found[image.Name] = image.Target.Digest != ""
		}
		same, err := s.client.GetImage(ctx, s.ref)
		if err != nil {
			return nil, err
		}
		return seen{"images": found, "same": same.Target().Digest == s.image.Target().Digest},
			s.client.ImageService().Delete(ctx, "example.com/index:1", images.SynchronousDelete())
	}},
	{"image-unpack", func(ctx context.Context, s *session) (seen, error) {
		if err := s.image.Unpack(ctx, "native"); err != nil {
			return nil, err
		}
		unpacked, err := s.image.IsUnpacked(ctx, "native")
		return seen{"unpacked": unpacked}, err
	}},
	{"image-push", func(ctx context.Context, s *session) (seen, error) {
		to := s.ref + "-pushed"
		if err := s.client.Push(ctx, to, s.image.Target()); err != nil {
			return nil, err
		}
		image, err := s.client.Fetch(ctx, to)
		return seen{"same": image.Target.Digest == s.image.Target().Digest}, errors.Join(err, s.client.ImageService().Delete(ctx, to))
	}},
	{"lease", leaseStep},
	{"image-errors", func(ctx context.Context, s *session) (seen, error) {
		_, missing := s.client.GetImage(ctx, "example.com/none:1")
		_, taken := s.client.ImageService().Create(ctx, s.image.Metadata())
		return seen{"missing": errdefs.IsNotFound(missing), "taken": errdefs.IsAlreadyExists(taken), "text": missing.Error()}, nil
	}},
}

// leaseStep pulls into a namespace of its own under a lease, deletes the image, and finds its content until the lease is gone.
func leaseStep(ctx context.Context, s *session) (seen, error) {
	ctx = withNamespace(ctx, "leased")
	leased, done, err := s.client.WithLease(ctx)
	if err != nil {
		return nil, err
	}
	id, _ := leases.FromContext(leased)
	image, err := s.client.Pull(leased, s.ref, containerd.WithPullUnpack)
	if err != nil {
		return nil, errors.Join(err, done(ctx))
	}
	resources, err := s.client.LeasesService().ListResources(ctx, leases.Lease{ID: id})
	if err != nil {
		return nil, errors.Join(err, done(ctx))
	}
	kinds := map[string]int{}
	for _, resource := range resources {
		kinds[resource.Type]++
	}
	deleted := s.client.ImageService().Delete(ctx, image.Name(), images.SynchronousDelete())
	_, held := s.client.ContentStore().Info(ctx, image.Target().Digest)
	all, err := s.client.LeasesService().List(ctx)
	if err != nil {
		return nil, errors.Join(err, done(ctx))
	}
	err = errors.Join(deleted, s.client.LeasesService().Delete(ctx, leases.Lease{ID: id}, leases.SynchronousDelete))
	_, gone := s.client.ContentStore().Info(ctx, image.Target().Digest)
	return seen{"resources": kinds, "leases": len(all), "held": held == nil, "gone": errdefs.IsNotFound(gone)}, err
}
