// SPDX-License-Identifier: LGPL-2.1-or-later
package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sort"
	"sync"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/transfer"
	"github.com/containerd/containerd/v2/core/transfer/archive"
	"github.com/containerd/containerd/v2/core/transfer/image"
	"github.com/containerd/containerd/v2/core/transfer/registry"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
)

const transferred = "example.com/transferred:1"

var transferSteps = []step{
	{"transfer-pull", transferPull},
	{"transfer-tag", func(ctx context.Context, s *session) (seen, error) {
		err := s.client.Transfer(ctx, image.NewStore(transferred), image.NewStore("example.com/tagged:1"))
		if err != nil {
			return nil, err
		}
		tagged, err := s.client.GetImage(ctx, "example.com/tagged:1")
		if err != nil {
			return nil, err
		}
		return seen{"same": tagged.Target().Digest == s.image.Target().Digest}, s.client.ImageService().Delete(ctx, "example.com/tagged:1")
	}},
	{"transfer-push", func(ctx context.Context, s *session) (seen, error) {
		to := s.ref + "-transferred"
		target, err := registry.NewOCIRegistry(ctx, to, registry.WithDefaultScheme("http"))
		if err != nil {
			return nil, err
		}
		progress := &progress{}
		if err := s.client.Transfer(ctx, image.NewStore(transferred), target, transfer.WithProgress(progress.told)); err != nil {
			return nil, err
		}
		fetched, err := s.client.Fetch(ctx, to)
		return seen{"same": fetched.Target.Digest == s.image.Target().Digest, "events": progress.seen()},
			errors.Join(err, s.client.ImageService().Delete(ctx, to))
	}},
	{"transfer-export-import", transferArchive},
	{"transfer-errors", func(ctx context.Context, s *session) (seen, error) {
		source, err := registry.NewOCIRegistry(ctx, s.ref+"-none", registry.WithDefaultScheme("http"))
		if err != nil {
			return nil, err
		}
		missing := s.client.Transfer(ctx, source, image.NewStore("example.com/none:1"))
		broken := s.client.Transfer(ctx, archive.NewImageImportStream(bytes.NewReader([]byte("no archive")), ""), image.NewStore("example.com/none:1"))
		return seen{"missing": errdefs.IsNotFound(missing), "broken": broken != nil}, nil
	}},
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// progress keeps the words of what a transfer tells.
type progress struct {
	mutex  sync.Mutex
	events map[string]int
	whole  int
}

func (p *progress) told(one transfer.Progress) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.events == nil {
		p.events = map[string]int{}
	}
	p.events[one.Event]++
	if one.Total > 0 && one.Progress == one.Total {
		p.whole++
	}
}

func (p *progress) seen() seen {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	words := []string{}
	for word := range p.events {
		words = append(words, word)
	}
	sort.Strings(words)
	return seen{"words": words, "whole": p.whole}
}

func transferPull(ctx context.Context, s *session) (seen, error) {
	source, err := registry.NewOCIRegistry(ctx, s.ref, registry.WithDefaultScheme("http"))
	if err != nil {
		return nil, err
	}
	progress := &progress{}
	target := image.NewStore(transferred, image.WithUnpack(platforms.DefaultSpec(), "overlayfs"), image.WithImageLabels(map[string]string{"by": "transfer"}))
	if err := s.client.Transfer(ctx, source, target, transfer.WithProgress(progress.told)); err != nil {
		return nil, err
	}
	got, err := s.client.GetImage(ctx, transferred)
	if err != nil {
		return nil, err
	}
	unpacked, err := got.IsUnpacked(ctx, "overlayfs")
	return seen{"same": got.Target().Digest == s.image.Target().Digest, "unpacked": unpacked, "labels": got.Labels(), "progress": progress.seen()}, err
}

// transferArchive sends an image out over one stream and in over another, into another namespace.
func transferArchive(ctx context.Context, s *session) (seen, error) {
	var file bytes.Buffer
	exported := &progress{}
	if err := s.client.Transfer(ctx, image.NewStore(transferred), archive.NewImageExportStream(nopCloser{&file}, ""),
		transfer.WithProgress(exported.told)); err != nil {
		return nil, err
	}
	size := file.Len()
	other := withNamespace(ctx, "imported")
	imported := &progress{}
	target := image.NewStore(transferred, image.WithUnpack(platforms.DefaultSpec(), "overlayfs"))
	if err := s.client.Transfer(other, archive.NewImageImportStream(&file, ""), target, transfer.WithProgress(imported.told)); err != nil {
		return seen{"size": size}, err
	}
	list, err := s.client.ListImages(other)
	return seen{"size": size, "images": names(list), "exported": exported.seen(), "imported": imported.seen()},
		errors.Join(err, s.client.ImageService().Delete(ctx, transferred, images.SynchronousDelete()))
}
