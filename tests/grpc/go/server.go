// SPDX-License-Identifier: LGPL-2.1-or-later
package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	eventstypes "github.com/containerd/containerd/api/events"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/typeurl/v2"
)

const lastTopic = "/test/last"

var serverSteps = []step{
	{"version", func(ctx context.Context, s *session) (seen, error) {
		version, err := s.client.Version(ctx)
		return seen{"version": version.Version, "revision": version.Revision}, err
	}},
	{"server", func(ctx context.Context, s *session) (seen, error) {
		first, err := s.client.Server(ctx)
		if err != nil {
			return nil, err
		}
		second, err := s.client.Server(ctx)
		return seen{"uuid": first.UUID, "again": second.UUID}, err
	}},
	{"serving", func(ctx context.Context, s *session) (seen, error) {
		serving, err := s.client.IsServing(ctx)
		return seen{"serving": serving}, err
	}},
	{"plugins", func(ctx context.Context, s *session) (seen, error) {
		plugins, err := s.client.IntrospectionService().Plugins(ctx, "type==io.containerd.snapshotter.v1")
		if err != nil {
			return nil, err
		}
		var ids []string
		for _, plugin := range plugins.Plugins {
			ids = append(ids, plugin.ID)
		}
		capabilities, err := s.client.GetSnapshotterCapabilities(ctx, "overlayfs")
		if err != nil {
			return nil, err
		}
		_, err = s.client.GetSnapshotterSupportedPlatforms(ctx, "overlayfs")
		return seen{"snapshotters": ids, "capabilities": capabilities}, err
	}},
	{"runtime-info", func(ctx context.Context, s *session) (seen, error) {
		info, err := s.client.RuntimeInfo(ctx, "", nil)
		if err != nil {
			return nil, err
		}
		return seen{"name": info.Name, "version": info.Version.Version, "features": fmt.Sprintf("%T", info.Features)}, nil
	}},
	{"namespace-labels", func(ctx context.Context, s *session) (seen, error) {
		store := s.client.NamespaceService()
		if err := store.Create(ctx, "other", map[string]string{"a": "1"}); err != nil {
			return nil, err
		}
		if err := store.SetLabel(ctx, "other", "b", "2"); err != nil {
			return nil, err
		}
		labels, err := store.Labels(ctx, "other")
		if err != nil {
			return nil, err
		}
		names, err := store.List(ctx)
		if err != nil {
			return nil, err
		}
		return seen{"labels": labels, "names": names}, store.Delete(ctx, "other")
	}},
}

// watcher keeps what a subscriber of all events of the namespace was told.
type watcher struct {
	mutex sync.Mutex
	told  []map[string]string
	err   error
	last  chan struct{}
}

func watch(ctx context.Context, client *containerd.Client) *watcher {
	w := &watcher{last: make(chan struct{})}
	envelopes, errs := client.Subscribe(ctx, "namespace==goclient")
	// A subscription counts from when the daemon has it: it has it when it passes an event on.
	begun := make(chan struct{})
	go w.listen(envelopes, errs, begun)
	for {
		if err := client.EventService().Publish(ctx, "/test/first", &eventstypes.NamespaceCreate{Name: "first"}); err != nil {
			w.err = err
			return w
		}
		select {
		case <-begun:
			return w
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (w *watcher) listen(envelopes <-chan *events.Envelope, errs <-chan error, begun chan struct{}) {
	for {
		select {
		case envelope := <-envelopes:
			if envelope.Topic == "/test/first" {
				select {
				case <-begun:
				default:
					close(begun)
				}
				continue
			}
			if envelope.Topic == lastTopic {
				close(w.last)
				return
			}
			w.keep(envelope)
		case err := <-errs:
			w.mutex.Lock()
			w.err = err
			w.mutex.Unlock()
			return
		}
	}
}

func (w *watcher) keep(envelope *events.Envelope) {
	told := map[string]string{"topic": envelope.Topic, "type": envelope.Event.GetTypeUrl()}
	decoded, err := typeurl.UnmarshalAny(envelope.Event)
	if err != nil {
		told["error"] = err.Error()
	}
	if named, ok := decoded.(interface{ Field([]string) (string, bool) }); ok {
		for _, field := range []string{"container_id", "id", "name", "key", "exec_id"} {
			if value, present := named.Field([]string{field}); present {
				told[field] = value
			}
		}
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.told = append(w.told, told)
}

func (w *watcher) topics(ctx context.Context, s *session) (seen, error) {
	if err := s.client.EventService().Publish(ctx, lastTopic, &eventstypes.NamespaceCreate{Name: "last"}); err != nil {
		return nil, err
	}
	select {
	case <-w.last:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return seen{"events": w.told}, w.err
}
